import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Date;
import java.util.TimeZone;
import java.util.concurrent.atomic.AtomicReference;
import org.quartz.CronExpression;

/**
 * Asks the real Quartz. Each line on standard input is "count start expression" (start in seconds since 1970, the expression may
 * hold blanks); the answer is one line: "refused message", or "ok" and the next fires in seconds UTC, less than count of them when
 * there are no more, "hang" as the last word when Quartz does not answer, "broken" when it throws. The first line that is printed
 * is the last year that this Quartz knows, which depends on the day it was started.
 *
 * java -cp /usr/share/java/quartz2.jar:/usr/share/java/slf4j-api.jar Oracle.java
 */
public class Oracle {
    static final long PATIENCE = 2000; // ms for one expression

    public static void main(String[] args) throws Exception {
        TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.US_ASCII);
        out.println(CronExpression.MAX_YEAR);
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] parts = line.split(" ", 3);
            out.println(answer(Integer.parseInt(parts[0]), Long.parseLong(parts[1]), parts[2]));
        }
        out.flush();
        System.exit(0); // even if an expression still hangs
    }

    static String answer(int count, long start, String text) throws Exception {
        CronExpression expression;
        try {
            expression = new CronExpression(text);
        } catch (java.text.ParseException e) {
            return "refused " + String.valueOf(e.getMessage()).replaceAll("[^ -~]", "?");
        }
        AtomicReference<String> fires = new AtomicReference<>("ok");
        Thread search = new Thread(() -> fires(expression, count, start, fires));
        search.setDaemon(true);
        search.start();
        search.join(PATIENCE);
        if (search.isAlive()) {
            String known = fires.get();
            search.stop();
            return known + " hang";
        }
        return fires.get();
    }

    static void fires(CronExpression expression, int count, long start, AtomicReference<String> fires) {
        Date at = new Date(start * 1000);
        try {
            for (int i = 0; i < count; i++) {
                at = expression.getTimeAfter(at);
                if (at == null) {
                    return;
                }
                fires.set(fires.get() + " " + at.getTime() / 1000);
            }
        } catch (RuntimeException e) {
            fires.set(fires.get() + " broken");
        }
    }
}
