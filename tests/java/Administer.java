import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.admin.ScramCredentialInfo;
import org.apache.kafka.clients.admin.ScramMechanism;
import org.apache.kafka.clients.admin.UserScramCredentialUpsertion;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/**
 * What librdkafka's Rust binding cannot ask of a broker: {@code Administer BOOTSTRAP-SERVERS password USER MECHANISM PASSWORD} sets a SCRAM
 * password, {@code Administer BOOTSTRAP-SERVERS grant USER TOPIC} lets a user write to a topic, {@code
 * describe USER TOPIC} know of it. Run as source with the broker's own jars.
 */
final class Administer {
  private static final int ITERATIONS = 4096;

  private Administer() {}

  public static void main(String[] arguments) throws Exception {
    try (Admin admin = Admin.create(Map.of(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]))) {
      switch (arguments[1]) {
        case "password" -> setPassword(admin, arguments[2], arguments[3], arguments[4]);
        case "grant" -> grant(admin, AclOperation.WRITE, arguments[2], arguments[3]);
        case "describe" -> grant(admin, AclOperation.DESCRIBE, arguments[2], arguments[3]);
        default -> throw new IllegalArgumentException(arguments[1]);
      }
    }
  }

  private static void setPassword(Admin admin, String user, String mechanism, String password) throws Exception {
    ScramCredentialInfo info = new ScramCredentialInfo(ScramMechanism.fromMechanismName(mechanism), ITERATIONS);
    admin.alterUserScramCredentials(List.of(new UserScramCredentialUpsertion(user, info, password))).all().get();
  }

  private static void grant(Admin admin, AclOperation operation, String user, String topic) throws Exception {
    ResourcePattern pattern = new ResourcePattern(ResourceType.TOPIC, topic, PatternType.LITERAL);
    AccessControlEntry entry = new AccessControlEntry("User:" + user, "*", operation, AclPermissionType.ALLOW);
    admin.createAcls(List.of(new AclBinding(pattern, entry))).all().get();
  }
}
