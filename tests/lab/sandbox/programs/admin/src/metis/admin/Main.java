package metis.admin;

import java.io.IOException;
import java.sql.SQLException;
import java.util.logging.Level;
import java.util.logging.Logger;

/**
 * Stands in for the admin back end 0.3.0, which upstream no longer offers: it needs, reads, opens
 * and registers the same, and does no business.
 */
public final class Main {
    private static final Logger LOG = Log.of(Main.class);
    private static final String PROFILE = "--spring.profiles.active=";

    private Main() {
    }

    /** Starts the program; whatever is missing ends it with status 1 and the cause in the log. */
    public static void main(String[] arguments) {
        try {
            Log.toConsole();
            start(arguments);
        } catch (StartException | IOException | SQLException e) {
            LOG.log(Level.SEVERE, "Application run failed: " + e.getMessage());
            Log.close();
            System.exit(1);
        }
    }

    private static void start(String[] arguments)
            throws StartException, IOException, SQLException {
        Settings settings = Settings.load(profile(arguments));
        Log.toFile(settings);
        settings.requireAll();
        Database database = new Database(settings);
        database.requireSchema();
        Registration registration = new Registration(settings);
        Web web = new Web(settings, database);
        registration.register();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            LOG.info("shutting down");
            registration.deregister();
            web.stop();
            Log.close();
        }, "shutdown"));
        LOG.info("started on port " + settings.port());
        web.await();
    }

    private static String profile(String[] arguments) throws StartException {
        for (String argument : arguments) {
            if (argument.startsWith(PROFILE)) {
                return argument.substring(PROFILE.length());
            }
        }
        throw new StartException("no profile given: the default one, dev_10_151, is a developer's"
                + " and its hosts do not exist here. Pass " + PROFILE + "admin");
    }
}
