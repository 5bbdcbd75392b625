// A thread pool, garbage from four threads while four collect it, files, sockets, a trapped null pointer.
import java.io.*;
import java.lang.management.*;
import java.net.*;
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;

public class Main {
  static long work(int n) {
    long sum = 0;
    for (int k = 0; k < 100000; ++k) sum += k % (n + 1);
    return sum;
  }

  // 60 MB of short-lived nodes; the 20000 that live are counted in the end, so a collector that loses some is seen.
  static long litter(int seed) {
    LinkedList<long[]> live = new LinkedList<>();
    for (int i = 0; i < 300000; ++i) {
      live.add(new long[] {seed + i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i});
      if (live.size() > 20000) live.removeFirst();
    }
    long sum = 0;
    for (long[] node : live) sum += node[0] - node[19];
    return sum;
  }

  public static void main(String[] words) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(4);
    List<Future<Long>> list = new ArrayList<>();
    for (int i = 0; i < 20; ++i) {
      final int n = i;
      list.add(pool.submit(() -> work(n)));
    }
    long sum = 0;
    for (Future<Long> one : list) sum += one.get();
    System.out.println(sum);

    list.clear();
    for (int i = 1; i <= 4; ++i) {
      final int seed = i;
      list.add(pool.submit(() -> litter(seed)));
    }
    for (Future<Long> one : list) System.out.println(one.get());
    long collections = 0;
    for (GarbageCollectorMXBean collector : ManagementFactory.getGarbageCollectorMXBeans()) {
      System.out.println(collector.getName());
      collections += collector.getCollectionCount();
    }
    System.out.println(collections >= 5 ? "several collections" : "collections: " + collections);

    Path path = Files.createTempFile("java", "test");
    Files.writeString(path, "text");
    System.out.println(Files.readString(path));
    Files.delete(path);
    ServerSocket server = new ServerSocket(0, 10, InetAddress.getLoopbackAddress());
    Thread echo = new Thread(() -> {
      try {
        for (int i = 0; i < 20; ++i)
          try (Socket peer = server.accept()) {
            peer.getOutputStream().write(peer.getInputStream().read());
          }
      } catch (IOException e) {
        e.printStackTrace();
      }
    });
    echo.start();
    for (int i = 0; i < 20; ++i)
      try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), server.getLocalPort())) {
        socket.getOutputStream().write(i);
        if (socket.getInputStream().read() != i) throw new Error();
      }
    echo.join();
    try {
      Object nothing = null;
      nothing.toString();
    } catch (NullPointerException e) {
      System.out.println("null pointer caught");
    }
    pool.shutdown();
    System.exit(4);
  }
}
