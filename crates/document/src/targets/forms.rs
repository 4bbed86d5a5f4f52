//! The fields of targets.

use crate::shape::Form::{self, Any, Boolean, Duration, Either, Integer, List, Map, Object, Text, Word};
use crate::shape::{Shape, default, optional, required};
use crate::source::SASL;

pub(crate) const TARGET: Form = Object(&Shape {
    noun: "target",
    help: "Where records go",
    fields: &[
        optional("name", Text, "The name; a target named `threshold` takes partial records, any other, metered records"),
        default("retryFor", Duration, "24h", "How long a record is tried before it is dead"),
        default("history", Boolean, "true", "Whether records from before it was added go there too"),
        optional("gather", Duration, "How long a record waits for others, for fewer files or letters; 1m for e-mail, else 0"),
        optional("file", FILE, "Files, or `-` for standard output"),
        optional("webhook", WEBHOOK, "Requests to any HTTP endpoint"),
        optional("postgres", POSTGRES, "Rows of a table"),
        optional("clickhouse", CLICKHOUSE, "Rows of a table of ClickHouse"),
        optional("kafka", KAFKA, "Messages of Kafka"),
        optional("email", EMAIL, "Files that are sent to people"),
        optional("objectStorage", OBJECTS, "Objects of S3 and compatible stores, Google Cloud Storage, Azure"),
        optional("sftp", SFTP, "Files on an SFTP server"),
        optional("snowflake", SNOWFLAKE, "Objects with a manifest, from which Snowflake loads them"),
        optional("bigquery", BIGQUERY, "Objects with a manifest, from which BigQuery loads them"),
        optional("stripe", STRIPE, "Stripe meter events"),
        optional("zuora", ZUORA, "Zuora usage"),
        optional("lago", LAGO, "Lago events"),
        optional("none", Any, "Nowhere"),
    ],
});

const FORMAT: Form = Word(&["ndjson", "csv", "parquet"]);

const FILE: Form = Object(&Shape {
    noun: "field of a file target",
    help: "Files, written whole or not at all",
    fields: &[
        required(
            "path",
            Text,
            "Path; {period}, {periodStart:%Y-%m-%d}, {periodEnd}, {meterType}, {meterKey}, {userId} and {window} are filled in; `-` for standard output",
        ),
        optional("format", FORMAT, "By the file's name when left out"),
    ],
});

/// A target that writes objects: the fields that all of them have, and its own.
macro_rules! objects {
    ($noun:literal, $help:literal, $path:literal, [$($own:expr),* $(,)?]) => {
        Object(&Shape {
            noun: $noun,
            help: $help,
            fields: &[
                required("url", Text, "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"),
                default("path", Text, $path, "Key under the prefix; placeholders as for files, {window} is needed"),
                optional("format", FORMAT, "By the key when left out"),
                optional(
                    "options",
                    Map(&Text),
                    "Settings of the store, as `endpoint`, `region`, `access_key_id`, `secret_access_key`, `allow_http`",
                ),
                $($own,)*
            ],
        })
    };
}

const OBJECTS: Form = objects!("field of object storage", "Objects, each written once", "{periodEnd}/{window}.ndjson", []);

const SFTP: Form = Object(&Shape {
    noun: "field of an SFTP target",
    help: "Files, each written once, under its name only when it is whole",
    fields: &[
        required("host", Text, "Name or address of the server"),
        default("port", Integer(1, 65_535), "22", "Its port"),
        required("user", Text, "The login"),
        optional("password", Text, "Its password, as ${env:NAME}"),
        optional("key", Text, "Its private key, as ${file:PATH}"),
        optional("passphrase", Text, "The passphrase of the key, as ${env:NAME}"),
        required(
            "hostKey",
            Either(&[Text, List(&Text)]),
            "The server's key, so that no other machine can pose as it: 'SHA256:…' as `ssh-keyscan HOST | ssh-keygen -lf -` shows it, or a line of known_hosts; a list while it is replaced",
        ),
        default("path", Text, "{meterType}-{window}.csv", "Path on the server; placeholders as for files, {window} is needed"),
        optional("format", FORMAT, "By the file's name when left out"),
        default("timeout", Duration, "60s", "How long an answer is waited for"),
    ],
});

const SNOWFLAKE: Form = objects!(
    "field of a Snowflake target",
    "Objects, each written once, and a manifest for each window",
    "{meterType}/{window}.parquet",
    [
        optional("stage", Text, "The external stage of the address, without @; flowmeter when left out"),
        optional("table", Text, "Name of the table, with database and schema or without; metered_records when left out"),
    ]
);

const BIGQUERY: Form = objects!(
    "field of a BigQuery target",
    "Objects, each written once, and a manifest for each window",
    "{meterType}/{window}.parquet",
    [required("table", Text, "Name of the table: DATASET.TABLE or PROJECT.DATASET.TABLE")]
);

const POSTGRES: Form = Object(&Shape {
    noun: "field of a Postgres target",
    help: "Rows, made with the place in the records in one transaction",
    fields: &[
        required("url", Text, "postgres://USER:PASSWORD@HOST/DATABASE; add ?sslmode=require for TLS"),
        default("table", Text, "metered_records", "NAME or SCHEMA.NAME; made if it is not there"),
    ],
});

const CLICKHOUSE: Form = Object(&Shape {
    noun: "field of a ClickHouse target",
    help: "Rows, inserted over HTTP",
    fields: &[
        required("url", Text, "The HTTP interface: https://HOST:8443, or http://HOST:8123"),
        default("table", Text, "metered_records", "NAME or DATABASE.NAME; made if it is not there"),
        optional("user", Text, "The login"),
        optional("password", Text, "Its password, as ${env:NAME}"),
        optional("tls", TLS, "Trusted authorities and the client certificate"),
        default("timeout", Duration, "60s", "How long an answer is waited for"),
    ],
});

const KAFKA: Form = Object(&Shape {
    noun: "field of a Kafka target",
    help: "A message for each record",
    fields: &[
        required("brokers", Either(&[Text, List(&Text)]), "HOST:PORT of some brokers"),
        required("topic", Text, "The topic; may hold {{ expressions }} over the record"),
        default("key", Text, "{{meterMetaData.recordId}}", "The key of messages; may hold {{ expressions }}"),
        optional("headers", Map(&Text), "Name: value; values may hold {{ expressions }}"),
        default(
            "format",
            Word(&["record", "cloudevents"]),
            "record",
            "record: JSON of the record; cloudevents: with the attributes in headers",
        ),
        optional("tls", TLS, "Trusted authorities and the client certificate; with it, TLS is used"),
        optional("sasl", SASL, "How the server logs in"),
        optional("options", Map(&Text), "Settings of librdkafka, as `compression.type`"),
        default("timeout", Duration, "60s", "How long the brokers may take for a message; without an answer it is looked for"),
    ],
});

const EMAIL: Form = Object(&Shape {
    noun: "field of an e-mail target",
    help: "Letters, each with a file of records",
    fields: &[
        required("smtp", Text, "The mail server: smtps://HOST:465, or smtp://HOST:587 for STARTTLS"),
        optional("username", Text, "The login"),
        optional("password", Text, "Its password, as ${env:NAME}"),
        required("from", Text, "The sender: ADDRESS or NAME <ADDRESS>"),
        required("to", Either(&[Text, List(&Text)]), "The receivers"),
        default("subject", Text, "Usage {meterType} {period}", "The subject; placeholders as for files"),
        default(
            "file",
            Text,
            "{meterType}_{period}.csv",
            "Name of the file, .csv or .xlsx; placeholders as for files; records with one name go together",
        ),
        optional("tls", TLS, "Trusted authorities and the client certificate"),
        default("timeout", Duration, "60s", "How long the mail server may take"),
    ],
});

const WEBHOOK: Form = Object(&Shape {
    noun: "field of a webhook",
    help: "Requests that carry records",
    fields: &[
        required("url", Text, "https://HOST/PATH"),
        default("method", Word(&["POST", "PUT"]), "POST", "The method"),
        optional("headers", Map(&Text), "Name: value"),
        optional("auth", AUTH, "How requests are authorized"),
        optional("tls", TLS, "Trusted authorities and the client certificate"),
        optional("signingSecrets", List(&Text), "Secrets of Standard Webhooks; two while one is replaced"),
        optional("body", Any, "The body; texts may hold {{ expressions }} over the record; the record itself when left out"),
        default("form", Boolean, "false", "Whether the body is a form instead of JSON"),
        default("batch", Integer(1, 1000), "1", "Records in one request; with more than one, the body is a list"),
        default("parallel", Integer(1, 64), "4", "Requests at a time; records of one meter keep their order"),
        default("timeout", Duration, "30s", "How long an answer is waited for"),
        default("keyHeader", Text, "Idempotency-Key", "The header that carries the key: the recordId, or one made of them"),
        optional("accepted", List(&TOLD), "Answers besides 2xx that mean that the record is there already"),
        optional("readBack", READ_BACK, "How to ask for a record"),
    ],
});

const TOLD: Form = Object(&Shape {
    noun: "field of an answer",
    help: "An answer that means that the record is there",
    fields: &[
        required("status", Integer(200, 599), "Its status"),
        default("contains", Text, "", "A text that its body contains"),
    ],
});

const READ_BACK: Form = Object(&Shape {
    noun: "field of a read-back",
    help: "How to ask for a record: GET, 404 says that it is not there",
    fields: &[
        required("url", Text, "https://HOST/PATH/{{meterMetaData.recordId}}"),
        default("isRecord", Boolean, "false", "Whether the answer is the record itself, to be compared"),
    ],
});

pub(crate) const AUTH: Form = Object(&Shape {
    noun: "kind of authentication",
    help: "One of bearer, basic, oauth2",
    fields: &[
        optional("bearer", Text, "A token, as ${env:NAME}"),
        optional("basic", BASIC, "User and password"),
        optional("oauth2", OAUTH2, "Client credentials"),
    ],
});

const BASIC: Form = Object(&Shape {
    noun: "field of basic authentication",
    help: "User and password",
    fields: &[required("user", Text, "The user"), required("password", Text, "The password, as ${env:NAME}")],
});

const OAUTH2: Form = Object(&Shape {
    noun: "field of OAuth 2",
    help: "Client credentials",
    fields: &[
        required("tokenUrl", Text, "Where tokens are given out"),
        required("clientId", Text, "Our id"),
        required("clientSecret", Text, "Our secret, as ${env:NAME}"),
        optional("scope", Text, "The scope of the token"),
    ],
});

pub(crate) const TLS: Form = Object(&Shape {
    noun: "field of TLS",
    help: "PEM, as ${file:PATH}",
    fields: &[
        optional("ca", Text, "Authorities; the usual ones when left out"),
        optional("certificate", Text, "Our certificate, with the chain behind it"),
        optional("key", Text, "Its key"),
    ],
});

const PARALLEL: Form = Integer(1, 64);

const STRIPE: Form = Object(&Shape {
    noun: "field of a Stripe target",
    help: "Meter events; the identifier is the recordId",
    fields: &[
        required("secretKey", Text, "As ${env:STRIPE_SECRET_KEY}"),
        required("eventName", Text, "The event name of the meter in Stripe"),
        default("customer", Text, "{{userId}}", "The customer's id in Stripe"),
        default("customerKey", Text, "stripe_customer_id", "The payload key of the customer"),
        optional("value", Text, "The value; the record's, and of a revision its delta, when left out"),
        default("valueKey", Text, "value", "The payload key of the value"),
        default("scale", Integer(1, 1_000_000_000_000), "1", "The factor of values: Stripe takes whole numbers only"),
        default("parallel", PARALLEL, "4", "Requests at a time"),
        default("url", Text, "https://api.stripe.com", "Where Stripe is"),
    ],
});

const ZUORA: Form = Object(&Shape {
    noun: "field of a Zuora target",
    help: "Usage records",
    fields: &[
        required("url", Text, "Where the tenant is: https://rest.zuora.com and others"),
        required("clientId", Text, "Of the OAuth client"),
        required("clientSecret", Text, "As ${env:NAME}"),
        default("accountNumber", Text, "{{userId}}", "The account"),
        default("unit", Text, "{{unit}}", "UOM in Zuora"),
        optional("quantity", Text, "The quantity; the record's value, and of a revision its delta, when left out"),
        default("start", Text, "{{periodStart}}", "StartDateTime"),
        optional("subscriptionNumber", Text, "The subscription"),
        optional("chargeNumber", Text, "The charge"),
        default("recordField", Text, "Description", "The field that holds the recordId, for finding a record: Zuora has no key"),
        default("parallel", PARALLEL, "4", "Requests at a time"),
    ],
});

const LAGO: Form = Object(&Shape {
    noun: "field of a Lago target",
    help: "Events; the transaction_id is the recordId",
    fields: &[
        required("apiKey", Text, "As ${env:LAGO_API_KEY}"),
        required("code", Text, "The code of the billable metric; may hold {{ expressions }}"),
        default("subscription", Text, "{{userId}}", "external_subscription_id"),
        optional("properties", Map(&Any), "Properties; `value`: the record's, and of a revision its delta, when left out"),
        default("parallel", PARALLEL, "4", "Requests at a time"),
        default("url", Text, "https://api.getlago.com", "Where Lago is"),
    ],
});
