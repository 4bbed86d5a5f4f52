//! Object storage, at a real S3-compatible server.

use serde_json::Value;

use super::contract::{keeps_to_it, target};
use super::support::moto::Moto;

#[test]
fn objects_keep_to_the_contract() {
    let Some(moto) = Moto::start("objects_keep_to_the_contract", "usage") else { return };
    let folder = tempfile::tempdir().unwrap();
    let yaml = format!(
        "  - objectStorage:\n      url: s3://usage/flow\n      path: '{{meterType}}/{{window}}.ndjson'\n      options: {{ endpoint: '{}', region: us-east-1, access_key_id: a, secret_access_key: b, allow_http: 'true' }}",
        moto.url()
    );
    let reopen = |memory: &Value| target(&yaml, folder.path(), memory);
    // Existing records are counted by reading them back.
    let count = || {
        let mut target = reopen(&Value::Null);
        let held = super::contract::held(target.as_mut(), 0..20).unwrap();
        held.iter().filter(|held| **held == flowmeter_engine::outbox::Held::Same).count()
    };
    let lose = || moto.delete("/usage/flow/LLM%20tokens/000000000000.ndjson");
    keeps_to_it(&reopen, Some(&lose), &count);
}
