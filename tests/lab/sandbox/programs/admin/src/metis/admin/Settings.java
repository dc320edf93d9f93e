package metis.admin;

import java.io.IOException;
import java.io.Reader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.yaml.snakeyaml.LoaderOptions;
import org.yaml.snakeyaml.Yaml;
import org.yaml.snakeyaml.constructor.SafeConstructor;
import org.yaml.snakeyaml.error.YAMLException;

/** The configuration file of the active profile, flattened to dotted keys as Spring sees it. */
final class Settings {
    private static final String[] REQUIRED = {
        "spring.datasource.druid.url",
        "spring.datasource.druid.username",
        "spring.datasource.druid.password",
        "LocalCarrierStatusRefreshTask.fixedDelay",
        "LocalDataAuthReqRefreshTask.fixedDelay",
        "LocalDataNodeRefreshTask.fixedDelay",
        "LocalMetaDataStatusRefreshTask.fixedDelay",
        "LocalPowerNodeRefreshTask.fixedDelay",
        "LocalTaskRefreshTask.fixedDelay",
        "SeedNodeRefreshTask.fixedDelay",
        "grpc-client-timeout",
        "grpc-client-upload-file-timeout",
    };

    private final Path file;
    private final Map<String, String> values = new TreeMap<>();

    private Settings(Path file) {
        this.file = file;
    }

    static Settings load(String profile) throws StartException, IOException {
        Path file = Paths.get("config", "application-" + profile + ".yml").toAbsolutePath();
        if (!Files.exists(file)) {
            throw new StartException("there is no " + file);
        }
        Settings settings = new Settings(file);
        try (Reader reader = Files.newBufferedReader(file, StandardCharsets.UTF_8)) {
            settings.flatten("", new Yaml(new SafeConstructor(new LoaderOptions())).load(reader));
        } catch (YAMLException e) {
            throw new StartException(file + ": " + e.getMessage());
        }
        return settings;
    }

    /** Names every key that the program cannot start without and that is not there. */
    void requireAll() throws StartException {
        List<String> missing = new ArrayList<>();
        for (String key : REQUIRED) {
            if (!values.containsKey(key)) {
                missing.add("Could not resolve placeholder '" + key + "'");
            }
        }
        if (!missing.isEmpty()) {
            throw new StartException(file + ": " + String.join("; ", missing));
        }
    }

    private void flatten(String key, Object value) {
        if (value instanceof Map) {
            ((Map<?, ?>) value).forEach(
                    (name, inner) -> flatten(key.isEmpty() ? "" + name : key + "." + name, inner));
        } else if (value instanceof List && ((List<?>) value).size() == 1) {
            flatten(key, ((List<?>) value).get(0));
        } else {
            values.put(key, value == null ? "" : value.toString());
        }
    }

    /** Looks a key up; one without a value counts as missing. */
    String get(String key, String whenMissing) {
        String value = values.getOrDefault(key, "");
        return value.isEmpty() ? whenMissing : value;
    }

    int number(String key, int whenMissing) throws StartException {
        String text = get(key, Integer.toString(whenMissing));
        try {
            return Integer.parseInt(text);
        } catch (NumberFormatException e) {
            throw new StartException(key + " is no number: " + text);
        }
    }

    int port() throws StartException {
        return number("server.port", 8080);
    }

    String contextPath() {
        return get("server.servlet.context-path", "");
    }
}
