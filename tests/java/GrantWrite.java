import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/**
 * Lets a user write to a topic: {@code GrantWrite BOOTSTRAP-SERVERS USER TOPIC}. In Java, because librdkafka's Rust binding has no access
 * control lists; run as source with the broker's own jars.
 */
final class GrantWrite {
  private GrantWrite() {}

  public static void main(String[] arguments) throws Exception {
    Map<String, Object> settings = Map.of(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
    ResourcePattern topic = new ResourcePattern(ResourceType.TOPIC, arguments[2], PatternType.LITERAL);
    AccessControlEntry write =
        new AccessControlEntry("User:" + arguments[1], "*", AclOperation.WRITE, AclPermissionType.ALLOW);
    try (Admin admin = Admin.create(settings)) {
      admin.createAcls(List.of(new AclBinding(topic, write))).all().get();
    }
  }
}
