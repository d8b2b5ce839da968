import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaAlteration.Op;
import org.apache.kafka.common.quota.ClientQuotaEntity;

/**
 * Limits what every client may produce: {@code Quota BOOTSTRAP-SERVERS BYTES-PER-SECOND}, or {@code none} instead of the number. In Java,
 * because librdkafka has no quotas; run as source with the broker's own jars.
 */
final class Quota {
  private Quota() {}

  public static void main(String[] arguments) throws Exception {
    Map<String, String> everyClient = new HashMap<>();
    everyClient.put(ClientQuotaEntity.CLIENT_ID, null);
    Double limit = arguments[1].equals("none") ? null : Double.valueOf(arguments[1]);
    ClientQuotaAlteration alteration =
        new ClientQuotaAlteration(
            new ClientQuotaEntity(everyClient), List.of(new Op("producer_byte_rate", limit)));
    try (Admin admin = Admin.create(Map.of(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]))) {
      admin.alterClientQuotas(List.of(alteration)).all().get();
    }
  }
}
