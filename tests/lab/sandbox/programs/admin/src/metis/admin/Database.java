package metis.admin;

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.concurrent.TimeUnit;
import java.util.logging.Logger;

/** The database over JDBC. */
final class Database {
    private static final Logger LOG = Log.of(Database.class);
    private static final int CONNECT_SECONDS = 5;
    private static final int PAUSE_MILLIS = 500;

    private final String url;
    private final String user;
    private final String password;
    private final int maxWait;

    Database(Settings settings) throws StartException {
        String druid = "spring.datasource.druid.";
        url = settings.get(druid + "url", null);
        user = settings.get(druid + "username", null);
        password = settings.get(druid + "password", null);
        maxWait = settings.number(druid + "max-wait", 60000);
        DriverManager.setLoginTimeout(CONNECT_SECONDS);
    }

    /** Reads a table of the schema; like druid it tries for max-wait to get a connection. */
    void requireSchema() throws StartException, SQLException {
        try (Connection connection = connectPatiently()) {
            count(connection, "SELECT COUNT(*) FROM local_org");
        }
    }

    private Connection connectPatiently() throws StartException {
        long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(maxWait);
        while (true) {
            try {
                return connect();
            } catch (SQLException e) {
                LOG.severe("create connection error: " + e.getMessage());
                if (System.nanoTime() >= end) {
                    throw new StartException("no connection to the database in " + maxWait + " ms");
                }
            }
            try {
                Thread.sleep(PAUSE_MILLIS);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new StartException("interrupted while connecting to the database");
            }
        }
    }

    private Connection connect() throws SQLException {
        return DriverManager.getConnection(url, user, password);
    }

    private static long count(Connection connection, String query) throws SQLException {
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery(query)) {
            rows.next();
            return rows.getLong(1);
        }
    }

    /** Counts the tables, over a new connection, so that it shows the database as it is now. */
    long tables() throws SQLException {
        try (Connection connection = connect()) {
            return count(connection, "SELECT COUNT(*) FROM information_schema.tables"
                    + " WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'");
        }
    }
}
