// Starts a Trino server from the jars on the class path. Trino's own main class lives in an artifact that Maven does not
// always have; all it does is what stands here.
public final class Launcher {
    private Launcher() {}

    public static void main(String[] args) {
        new io.trino.server.Server().start(System.getProperty("trino.version"));
    }
}
