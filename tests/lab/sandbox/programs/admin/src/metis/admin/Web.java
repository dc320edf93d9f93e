package metis.admin;

import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.sql.SQLException;
import java.util.logging.Logger;
import org.apache.catalina.LifecycleException;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.core.StandardContext;
import org.apache.catalina.startup.Tomcat;
import org.apache.tomcat.util.modeler.Registry;

/**
 * HTTP on all addresses. By Tomcat, as in the real program: it serves the path of consul's check,
 * which has two slashes at its start, where the JDK's own server answers 400.
 */
final class Web {
    private static final Logger LOG = Log.of(Web.class);

    private final Tomcat tomcat = new Tomcat();

    Web(Settings settings, Database database) throws StartException, IOException {
        int port = settings.port();
        Registry.disableRegistry(); // as Spring Boot does: nobody asks for Tomcat's beans
        tomcat.setBaseDir(baseFolder(settings).toString());
        Connector connector = new Connector();
        connector.setPort(port);
        connector.setThrowOnFailure(true);
        tomcat.setConnector(connector);
        StandardContext context =
                (StandardContext) tomcat.addContext(settings.contextPath(), null);
        // For an application that is loaded again and again; a newer Java forbids it anyway.
        context.setClearReferencesObjectStreamClassCaches(false);
        context.setClearReferencesRmiTargets(false);
        context.setClearReferencesThreadLocals(false);
        Tomcat.addServlet(context, "api", new Api(database)).addMapping("/");
        try {
            tomcat.start();
        } catch (LifecycleException e) {
            throw new StartException(
                    "Web server failed to start. Port " + port + ": " + rootOf(e));
        }
    }

    private static Path baseFolder(Settings settings) throws StartException, IOException {
        String given = settings.get("server.tomcat.basedir", null);
        return given == null
                ? Files.createTempDirectory("tomcat." + settings.port() + ".")
                : Files.createDirectories(Paths.get(given));
    }

    private static Throwable rootOf(Throwable error) {
        return error.getCause() == null ? error : rootOf(error.getCause());
    }

    /** Waits until another thread calls stop. */
    void await() {
        tomcat.getServer().await();
    }

    void stop() {
        try {
            tomcat.stop();
            tomcat.destroy();
        } catch (LifecycleException e) {
            LOG.severe("could not stop the web server: " + rootOf(e).getMessage());
        }
    }

    private static final class Api extends HttpServlet {
        private static final long serialVersionUID = 1L;

        private final transient Database database;

        Api(Database database) {
            this.database = database;
        }

        @Override
        protected void service(HttpServletRequest request, HttpServletResponse response)
                throws IOException {
            switch (request.getServletPath()) {
                case "/health":
                    send(response, 200, "text/plain", "Hello, Metis-Admin");
                    break;
                case "/api/v1/system/info":
                    info(response);
                    break;
                default:
                    send(response, 404, "application/json",
                            "{\"status\":404,\"error\":\"Not Found\"}");
            }
        }

        private void info(HttpServletResponse response) throws IOException {
            String version = Web.class.getPackage().getImplementationVersion();
            try {
                send(response, 200, "application/json", String.format(
                        "{\"version\":\"%s\",\"tables\":%d}", version, database.tables()));
            } catch (SQLException e) {
                LOG.severe("database: " + e.getMessage());
                send(response, 500, "application/json",
                        "{\"status\":500,\"error\":\"database\"}");
            }
        }

        private static void send(HttpServletResponse response, int status, String kind,
                String text) throws IOException {
            response.setStatus(status);
            response.setContentType(kind + ";charset=UTF-8");
            response.getOutputStream().write(text.getBytes(StandardCharsets.UTF_8));
        }
    }
}
