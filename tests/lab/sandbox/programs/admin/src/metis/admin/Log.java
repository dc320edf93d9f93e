package metis.admin;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.logging.ConsoleHandler;
import java.util.logging.FileHandler;
import java.util.logging.Handler;
import java.util.logging.LogManager;
import java.util.logging.Logger;
import java.util.logging.SimpleFormatter;

/** Log lines, this program's and its libraries', to standard error and to a file. */
final class Log {
    static {
        System.setProperty("java.util.logging.manager", Manager.class.getName());
    }

    private static final Logger ROOT = Logger.getLogger("");

    private Log() {
    }

    static Logger of(Class<?> user) {
        return Logger.getLogger(user.getName());
    }

    static void toConsole() {
        System.setProperty("java.util.logging.SimpleFormatter.format",
                "%1$tF %1$tT.%1$tL %4$s %3$s - %5$s%n");
        for (Handler handler : ROOT.getHandlers()) {
            ROOT.removeHandler(handler);
        }
        add(new ConsoleHandler());
    }

    static void toFile(Settings settings) {
        Path file = Paths.get(settings.get("logging.file.name", "logs/metis-admin.log"))
                .toAbsolutePath();
        try {
            Files.createDirectories(file.getParent());
            // Its argument is a pattern, in which a % has a meaning.
            add(new FileHandler(file.toString().replace("%", "%%"), true));
        } catch (IOException e) {
            // As logback does: say so and go on without the file.
            ROOT.warning("no log file: " + e);
        }
    }

    private static void add(Handler handler) {
        handler.setFormatter(new SimpleFormatter());
        ROOT.addHandler(handler);
    }

    /** Ends the log: nothing that is said later is written. */
    static void close() {
        ((Manager) LogManager.getLogManager()).close();
    }

    /** Keeps the log open at a shutdown, when Java's own closes it before the last words. */
    public static final class Manager extends LogManager {
        @Override
        public void reset() {
            // Not before close.
        }

        private void close() {
            super.reset();
        }
    }
}
