package metis.admin;

import java.io.IOException;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.Inet4Address;
import java.net.InetAddress;
import java.net.NetworkInterface;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.logging.Logger;

/** The registration with the consul agent. */
final class Registration {
    private static final Logger LOG = Log.of(Registration.class);
    private static final int TIMEOUT_MILLIS = 5000;

    private final String agent;
    private final boolean wanted;
    private final String id;
    private final String body;

    Registration(Settings settings) throws StartException, IOException {
        agent = "http://" + settings.get("spring.cloud.consul.host", "localhost") + ":"
                + settings.number("spring.cloud.consul.port", 8500) + "/v1/agent/service/";
        String discovery = "spring.cloud.consul.discovery.";
        String given = settings.get(discovery + "ip-address", null);
        String address = given == null ? ownAddress() : given;
        int port = settings.port();
        // Spring Cloud's names and defaults; the application's own name is metis-admin.
        String name = settings.get(discovery + "service-name", "metis-admin");
        String tag = settings.get(discovery + "tags", "");
        String health = settings.get(discovery + "health-check-path", "/actuator/health");
        String interval = settings.get(discovery + "health-check-interval", "10s");
        wanted = Boolean.parseBoolean(settings.get(discovery + "register", "true"));
        id = settings.get(discovery + "instance-id", name + "_" + address + "_" + port);
        // No time after which consul would remove it: after a kill it stays, critical.
        body = String.format("{\"ID\":\"%s\",\"Name\":\"%s\",\"Tags\":[%s],"
                + "\"Address\":\"%s\",\"Port\":%d,"
                + "\"Check\":{\"HTTP\":\"http://%s:%d%s\",\"Interval\":\"%s\"}}",
                id, name, tag.isEmpty() ? "" : "\"" + tag + "\"", address, port, address, port,
                health, interval);
    }

    /** Finds the first address that is neither loopback nor IPv6, by the order of interfaces. */
    private static String ownAddress() throws StartException, IOException {
        List<NetworkInterface> interfaces = Collections.list(NetworkInterface.getNetworkInterfaces());
        interfaces.sort(Comparator.comparingInt(NetworkInterface::getIndex));
        for (NetworkInterface candidate : interfaces) {
            if (!candidate.isUp()) {
                continue;
            }
            for (InetAddress address : Collections.list(candidate.getInetAddresses())) {
                if (address instanceof Inet4Address && !address.isLoopbackAddress()) {
                    return address.getHostAddress();
                }
            }
        }
        throw new StartException("no interface is up that has an IPv4 address");
    }

    void register() throws StartException {
        if (!wanted) {
            return;
        }
        try {
            put("register", body);
        } catch (IOException e) {
            throw new StartException("registration at " + agent + " failed: " + e.getMessage());
        }
        LOG.info("registered with consul as " + id);
    }

    void deregister() {
        try {
            put("deregister/" + id, "");
        } catch (IOException e) {
            LOG.severe("could not deregister at " + agent + ": " + e.getMessage());
        }
    }

    private void put(String path, String content) throws IOException {
        HttpURLConnection call = (HttpURLConnection) new URL(agent + path).openConnection();
        call.setRequestMethod("PUT");
        call.setConnectTimeout(TIMEOUT_MILLIS);
        call.setReadTimeout(TIMEOUT_MILLIS);
        call.setDoOutput(true);
        try (OutputStream out = call.getOutputStream()) {
            out.write(content.getBytes(StandardCharsets.UTF_8));
        }
        if (call.getResponseCode() != HttpURLConnection.HTTP_OK) {
            throw new IOException(path + ": HTTP " + call.getResponseCode());
        }
        call.disconnect();
    }
}
