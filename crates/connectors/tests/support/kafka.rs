//! A real Apache Kafka, started by `kafka-broker.sh` beside this file, where Java and Maven are there.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{free_port, skipped};

/// A broker in a temporary folder.
pub struct Kafka {
    folder: tempfile::TempDir,
    port: u16,
}

fn script() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../connectors/tests/support/kafka-broker.sh")
}

impl Kafka {
    /// Starts a broker; `None`, with a message, where it cannot be had.
    pub fn start(what: &str) -> Option<Kafka> {
        let has = |program: &str| Command::new(program).arg("-version").output().is_ok();
        if !has("java") || !has("mvn") {
            skipped(what, "no Kafka on this machine; install the packages `maven` and `openjdk-17-jre-headless`");
            return None;
        }
        let kafka = Kafka { folder: tempfile::tempdir().unwrap(), port: free_port() };
        let fetched = kafka.command(&["fetch"]).output().unwrap();
        if !fetched.status.success() {
            skipped(what, &format!("Kafka cannot be fetched: {}", String::from_utf8_lossy(&fetched.stderr)));
            return None;
        }
        kafka.go();
        Some(kafka)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("bash");
        command.arg(script()).args(arguments);
        command.env("KAFKA_DIR", self.folder.path().join("kafka")).env("KAFKA_PORT", self.port.to_string());
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts the broker, if it does not run. It keeps its messages.
    pub fn go(&self) {
        // The broker must not hold this process's pipes open.
        let status = self.command(&["start"]).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(status.success());
    }

    pub fn kill(&self) {
        self.run(&["kill", "0"]);
    }

    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn create(&self, topic: &str, partitions: u32) {
        let (brokers, partitions) = (self.brokers(), partitions.to_string());
        let class = "org.apache.kafka.tools.TopicCommand";
        self.run(&["tool", class, "--bootstrap-server", &brokers, "--create", "--topic", topic, "--partitions", &partitions]);
    }

    /// Sends messages, one a line: headers, a tab, a key, a tab, the value.
    pub fn send(&self, topic: &str, lines: &str) {
        let brokers = self.brokers();
        let class = "org.apache.kafka.tools.ConsoleProducer";
        let mut command = self.command(&["tool", class, "--bootstrap-server", &brokers, "--topic", topic]);
        for property in ["parse.headers=true", "parse.key=true", "null.marker=NULL"] {
            command.args(["--reader-property", property]);
        }
        command.args(["--command-property", "acks=all"]);
        let mut producer = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        producer.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let output = producer.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Kafka {
    /// Returns the values of all messages of a topic.
    pub fn values(&self, topic: &str) -> Vec<String> {
        let brokers = self.brokers();
        let class = "org.apache.kafka.tools.consumer.ConsoleConsumer";
        let mut command = self.command(&["tool", class, "--bootstrap-server", &brokers, "--topic", topic]);
        let output = command.args(["--from-beginning", "--timeout-ms", "5000"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        drop(self.command(&["wipe"]).stdout(Stdio::null()).stderr(Stdio::null()).status());
    }
}
