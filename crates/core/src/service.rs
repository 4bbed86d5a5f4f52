//! An HTTP service: its address, and the credentials of requests.

/// An HTTP service that is asked.
#[derive(Clone, Debug)]
pub struct ServiceAddress {
    /// The address of requests.
    pub url: String,
    /// Names and values of headers.
    pub headers: Vec<(String, String)>,
    /// How requests are authorized.
    pub auth: Auth,
    /// The trusted authorities and the client certificate.
    pub tls: TlsPlan,
    /// Nanoseconds that an answer may take.
    pub timeout: i64,
}

/// How requests are authorized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Requests are not authorized.
    None,
    /// A token sent as bearer.
    Bearer(String),
    /// A user with a password.
    Basic {
        /// Name of the user.
        user: String,
        /// Password of the user.
        password: String,
    },
    /// OAuth 2 client credentials.
    OAuth2 {
        /// The address of the token endpoint.
        token_url: String,
        /// Id of the client.
        client_id: String,
        /// Secret of the client.
        client_secret: String,
        /// The scope of the token.
        scope: Option<String>,
    },
}

/// A cluster of Kafka, and how it is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KafkaCluster {
    /// Addresses of brokers, as `host:port`.
    pub brokers: Vec<String>,
    /// The trusted authorities and the client certificate, for TLS.
    pub tls: Option<TlsPlan>,
    /// How the server logs in.
    pub sasl: Option<KafkaLogin>,
    /// Settings of librdkafka, by name.
    pub options: Vec<(String, String)>,
}

/// How a server logs in to Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaLogin {
    /// The mechanism, as `SCRAM-SHA-512`.
    pub mechanism: String,
    /// The name of the user.
    pub user: String,
    /// The password of the user.
    pub password: String,
}

/// The trusted authorities and the client certificate, each as PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsPlan {
    /// Certificate authorities; the public ones by default.
    pub ca: Option<String>,
    /// The client certificate, followed by its chain.
    pub certificate: Option<String>,
    /// Private key of the certificate.
    pub key: Option<String>,
}
