import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hdfs.HdfsConfiguration;
import org.apache.hadoop.hdfs.server.datanode.DataNode;
import org.apache.hadoop.hdfs.server.namenode.NameNode;
import org.apache.hadoop.metrics2.lib.DefaultMetricsSystem;

// An HDFS of one namenode and one datanode in a folder: Cluster FOLDER RPC_PORT HTTP_PORT. It writes FOLDER/ready when
// both are there, and runs until it is killed.
public final class Cluster {
    private static final String HOST = "127.0.0.1";

    private Cluster() {}

    public static void main(String[] arguments) {
        try {
            run(arguments);
        } catch (Throwable error) {
            // Threads of its own would keep the program alive.
            error.printStackTrace();
            System.exit(1);
        }
    }

    private static void run(String[] arguments) throws Exception {
        Path folder = Path.of(arguments[0]).toAbsolutePath();
        Configuration conf = new HdfsConfiguration();
        conf.set("fs.defaultFS", "hdfs://" + HOST + ":" + arguments[1]);
        conf.set("dfs.namenode.name.dir", folder.resolve("name").toUri().toString());
        conf.set("dfs.datanode.data.dir", folder.resolve("data").toUri().toString());
        conf.set("dfs.namenode.http-address", HOST + ":" + arguments[2]);
        for (String part : new String[] {"address", "http.address", "ipc.address"}) {
            conf.set("dfs.datanode." + part, HOST + ":0");
        }
        conf.set("dfs.datanode.hostname", HOST);
        conf.setInt("dfs.replication", 1);
        // A datanode takes a block only where a whole one has room beside those that are being written: at the default of
        // 128 MiB a machine with little space left refuses files of a few bytes.
        conf.setLong("dfs.blocksize", 4 << 20);
        conf.setBoolean("dfs.permissions.enabled", false);
        conf.setBoolean("dfs.namenode.datanode.registration.ip-hostname-check", false);
        // Formatting and serving register the same metrics.
        DefaultMetricsSystem.setMiniClusterMode(true);
        NameNode.format(conf);
        NameNode.createNameNode(new String[0], conf);
        DataNode datanode = DataNode.createDataNode(new String[0], conf);
        while (!datanode.isDatanodeFullyStarted()) {
            Thread.sleep(20);
        }
        Files.writeString(folder.resolve("ready"), "");
        Thread.currentThread().join();
    }
}
