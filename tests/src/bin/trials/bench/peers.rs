//! Where peers come from: package registries, each at one pinned version but for Debian's, which are those of its stable release.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use keyferry_tests::keycloak::copy_tree;
use keyferry_tests::{Error, Result};
use xtask::cache::Cache;
use xtask::tool::{CMAKE, GO, run_silently};
use xtask::{parts, progress};

use super::machine;

/// The last release of Benthos that is free as a whole.
const BENTHOS: &str = "v4.27.0";
/// What kcat and rsyslog need beyond what every Debian has.
const LIBRDKAFKA: &str = "librdkafka1";

/// A file of librdkafka that is changed in one place.
struct Change {
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

/// Where a message gets its content, one and the same for all, and instead: the next line of standard input. Equal messages would compress a hundredfold, and be no load at all to client
/// and broker.
const LINES: Change = Change {
    file: "examples/rdkafka_performance.c",
    from: "pbuf = malloc(msgsize);
                                memcpy(pbuf, sbuf, msgsize);",
    to: "static char *line;
                                static size_t capacity;
                                ssize_t length = getline(&line, &capacity, stdin);
                                if (length <= 0)
                                        break;
                                msgsize = (int)length - 1;
                                pbuf = malloc(msgsize);
                                memcpy(pbuf, line, msgsize);",
};
/// CMake defines what is off as 0, which this line takes for on.
const WITHOUT_CURL: Change = Change {
    file: "src/rdkafka_conf.c",
    from: "#ifdef WITH_OAUTHBEARER_OIDC\n#include <curl/curl.h>",
    to: "#if WITH_OAUTHBEARER_OIDC\n#include <curl/curl.h>",
};

impl Change {
    fn make(&self, sources: &Path) -> Result<()> {
        let path = sources.join(self.file);
        let text = self.made(&path)?;
        fs::write(&path, text).map_err(Error::io("write", &path))
    }

    /// What the file says afterwards.
    fn made(&self, path: &Path) -> Result<String> {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        match text.matches(self.from).count() {
            1 => Ok(text.replace(self.from, self.to)),
            found => Err(Error::Missing(format!(
                "{} has {found} places that are to be changed, not one: bring bench/peers.rs in line with librdkafka",
                path.display()
            ))),
        }
    }
}

/// librdkafka's example, built from the sources that the agent is built with, and changed only in where messages come from.
///
/// # Errors
/// Where CMake or a compiler is missing, or the sources are no longer what is changed here.
pub fn rdkafka_performance(cache: &Cache) -> Result<PathBuf> {
    let (version, sources) = machine::package("rdkafka-sys")?;
    let part = cache.part(&format!("rdkafka-performance-{version}"), |place| {
        progress::step(&format!("build rdkafka_performance {version}"), || {
            CMAKE.require()?;
            let copy = place.join("sources");
            copy_tree(&sources.join("librdkafka"), &copy)?;
            [LINES, WITHOUT_CURL].iter().try_for_each(|change| change.make(&copy))?;
            let mut configure = CMAKE.command();
            configure.arg("-S").arg(&copy).arg("-B").arg(place.join("build"));
            configure.args(["-DCMAKE_BUILD_TYPE=Release"]);
            configure.args([
                "-DRDKAFKA_BUILD_STATIC=ON",
                "-DRDKAFKA_BUILD_TESTS=OFF",
                "-DENABLE_LZ4_EXT=OFF",
            ]);
            configure.args(["-DWITH_SSL=OFF", "-DWITH_SASL=OFF", "-DWITH_CURL=OFF", "-DWITH_ZSTD=OFF"]);
            run_silently(&mut configure)?;
            let mut build = CMAKE.command();
            build.arg("--build").arg(place.join("build"));
            Ok::<_, Error>(run_silently(build.args(["--target", "rdkafka_performance", "--parallel", "2"]))?)
        })
    })?;
    Ok(part.join("build/examples/rdkafka_performance"))
}

/// The root of a Debian that has kcat.
///
/// # Errors
/// Where apt cannot bring it.
pub fn kcat(cache: &Cache) -> Result<PathBuf> {
    Ok(parts::debian(cache, "kcat", &[LIBRDKAFKA, "libyajl2"])?)
}

/// The root of a Debian that has rsyslog and its module for Kafka.
///
/// # Errors
/// Where apt cannot bring it.
pub fn rsyslog(cache: &Cache) -> Result<PathBuf> {
    let beside = ["rsyslog-kafka", LIBRDKAFKA, "libestr0", "libfastjson4", "liblognorm5"];
    Ok(parts::debian(cache, "rsyslog", &beside)?)
}

/// A program of an unpacked Debian, with that Debian's libraries.
pub fn debian_program(root: &Path, name: &str) -> Command {
    let mut command = Command::new(root.join("usr").join(name));
    command.env("LD_LIBRARY_PATH", debian_libraries(root));
    command
}

/// The directory of an unpacked Debian's libraries.
pub fn debian_libraries(root: &Path) -> PathBuf {
    root.join("usr/lib").join(if cfg!(target_arch = "aarch64") {
        "aarch64-linux-gnu"
    } else {
        "x86_64-linux-gnu"
    })
}

/// Benthos with what is used of it here: files, and Kafka by franz-go.
///
/// # Errors
/// Where Go is missing or cannot bring or build it.
pub fn benthos(cache: &Cache) -> Result<PathBuf> {
    let part = cache.part(&format!("benthos-{BENTHOS}"), |place| {
        progress::step(&format!("build benthos {BENTHOS}"), || {
            GO.require()?;
            let write = |name: &str, text: &str| {
                let path = place.join(name);
                fs::write(&path, text).map_err(Error::io("write", &path))
            };
            let module = "github.com/benthosdev/benthos/v4";
            write("go.mod", &format!("module peer\n\ngo 1.21\n\nrequire {module} {BENTHOS}\n"))?;
            let components = ["io", "kafka", "pure"].map(|name| format!("\t_ \"{module}/public/components/{name}\"\n"));
            let program = format!(
                "package main\n\nimport (\n\t\"context\"\n\n\t\"{module}/public/service\"\n{})\n\nfunc main() {{\n\tservice.RunCLI(context.Background())\n}}\n",
                components.concat()
            );
            write("main.go", &program)?;
            let mut go = GO.command();
            go.args(["build", "-mod=mod", "-o", "benthos", "."]).current_dir(place);
            Ok::<_, Error>(run_silently(&mut go)?)
        })
    })?;
    Ok(part.join("benthos"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_librdkafka_in_use_is_what_is_changed_here() {
        let (_, sources) = machine::package("rdkafka-sys").unwrap();
        let made = |change: &Change| change.made(&sources.join("librdkafka").join(change.file));
        assert!(made(&LINES).unwrap().contains("getline(&line"));
        assert!(made(&WITHOUT_CURL).unwrap().contains("#if WITH_OAUTHBEARER_OIDC\n#include"));
        let elsewhere = Change { file: LINES.file, from: "no such line", to: "" };
        assert!(made(&elsewhere).unwrap_err().to_string().contains("0 places"));
    }
}
