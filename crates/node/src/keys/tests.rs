//! Keys are accepted when they should be, and refused for the right reason otherwise.

use flowmeter_core::time::Timestamp;
use proptest::prelude::*;

use super::{Error, KeyRing, NewKey, Principal, Scope, Scopes, StoredKey, Unauthenticated, issue};
use crate::refusal::RefusalKind;

const SECOND: i64 = 1_000_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_nanos(seconds * SECOND)
}

fn wish(scopes: &[Scope], expires_at: Option<Timestamp>) -> NewKey {
    NewKey { name: "billing".to_owned(), namespace: "acme".to_owned(), scopes: Scopes::of(scopes), expires_at }
}

fn made(ring: &KeyRing, expires_at: Option<Timestamp>) -> (crate::keys::KeyId, String) {
    let issued = issue(wish(&[Scope::Ingest], expires_at), at(0)).unwrap();
    let id = issued.stored.key.id;
    ring.put(issued.stored);
    (id, issued.text.into_text())
}

fn refusal(ring: &KeyRing, header: &str, now: Timestamp) -> Option<Unauthenticated> {
    ring.authenticate(Some(header), now).err()
}

#[test]
fn headers() {
    let ring = KeyRing::default();
    let (id, key) = made(&ring, None);
    let wrong_secret = format!("{}{}", &key[..key.len() - 1], if key.ends_with('0') { '1' } else { '0' });
    let cases = [
        (format!("Bearer {key}"), None),
        (format!("bearer   {key} "), None),
        (key.clone(), None),
        (String::new(), Some(Unauthenticated::Missing)),
        (" ".to_owned(), Some(Unauthenticated::Missing)),
        ("Bearer".to_owned(), Some(Unauthenticated::Malformed)),
        (format!("Basic {key}"), Some(Unauthenticated::Malformed)),
        (format!("Bearer \"{key}\""), Some(Unauthenticated::Malformed)),
        (format!("Bearer {}", key.to_uppercase()), Some(Unauthenticated::Malformed)),
        (format!("Bearer {key}0"), Some(Unauthenticated::Malformed)),
        (format!("Bearer fm_{id}_"), Some(Unauthenticated::Malformed)),
        ("Bearer fm_ü_ü".to_owned(), Some(Unauthenticated::Malformed)),
        (format!("Bearer {wrong_secret}"), Some(Unauthenticated::Unknown)),
        (format!("Bearer fm_{:016x}_{}", !id.as_u64(), &key[20..]), Some(Unauthenticated::Unknown)),
    ];
    for (header, expected) in cases {
        assert_eq!(refusal(&ring, &header, at(1)), expected, "{header}");
    }
    assert_eq!(ring.authenticate(None, at(1)).err(), Some(Unauthenticated::Missing));
}

proptest! {
    #[test]
    fn no_header_panics(header in ".{0,120}", tail in "fm_[0-9a-f]{0,20}_.{0,70}") {
        let ring = KeyRing::default();
        prop_assert!(ring.authenticate(Some(&header), at(1)).is_err());
        let bearer = format!("Bearer {tail}");
        prop_assert!(ring.authenticate(Some(&bearer), at(1)).is_err());
    }
}

#[test]
fn a_key_ends_when_it_says() {
    let ring = KeyRing::default();
    let (_, key) = made(&ring, Some(at(10)));
    assert_eq!(refusal(&ring, &key, at(9)), None);
    assert_eq!(refusal(&ring, &key, at(10)), Some(Unauthenticated::Expired));
    assert!(ring.has_usable(at(9)) && !ring.has_usable(at(10)));
}

#[test]
fn the_old_key_lives_through_the_grace_period() {
    let ring = KeyRing::default();
    let (id, old) = made(&ring, None);
    let (ended, issued) = ring.rotated(id, 60 * SECOND, None, at(100)).unwrap();
    assert_eq!(refusal(&ring, &old, at(1_000)), None, "nothing changes before it is stored");
    assert_eq!(issued.stored.key.rotated_from, Some(id));
    ring.put(ended);
    ring.put(issued.stored);
    let new = issued.text.into_text();
    assert_ne!(old, new);
    for (now, of_old) in [(at(159), None), (at(160), Some(Unauthenticated::Expired))] {
        assert_eq!(refusal(&ring, &old, now), of_old);
        assert_eq!(refusal(&ring, &new, now), None);
    }
    assert!(matches!(ring.rotated(id, 0, None, at(160)), Err(Error::Invalid(_))), "what has ended is not rotated");
}

#[test]
fn rotation_never_lengthens_a_life() {
    let ring = KeyRing::default();
    let (id, _) = made(&ring, Some(at(110)));
    let (ended, _) = ring.rotated(id, 60 * SECOND, None, at(100)).unwrap();
    assert_eq!(ended.key.expires_at, Some(at(110)));
}

#[test]
fn a_revoked_key_says_so_to_its_owner_only() {
    let ring = KeyRing::default();
    let (id, key) = made(&ring, None);
    ring.put(ring.revoked(id, at(5)).unwrap());
    assert_eq!(refusal(&ring, &key, at(6)), Some(Unauthenticated::Revoked));
    let guess = format!("fm_{id}_{}", "0".repeat(64));
    assert_eq!(refusal(&ring, &guess, at(6)), Some(Unauthenticated::Unknown));
    assert_eq!(ring.revoked(id, at(9)).unwrap().key.revoked_at, Some(at(5)), "repeating it changes nothing");
}

#[test]
fn wishes_that_make_no_sense() {
    let wishes = [
        NewKey { name: " ".to_owned(), ..wish(&[Scope::Read], None) },
        NewKey { namespace: String::new(), ..wish(&[Scope::Read], None) },
        wish(&[], None),
        wish(&[Scope::Read], Some(at(7))),
    ];
    for new in wishes {
        assert!(matches!(issue(new.clone(), at(7)), Err(Error::Invalid(_))), "{new:?}");
    }
}

#[test]
fn scopes_allow_only_their_rights() {
    let cases = [
        (&[Scope::Ingest][..], [true, false, false, false]),
        (&[Scope::Read], [false, true, false, false]),
        (&[Scope::Operate, Scope::Read], [false, true, true, false]),
        (&[Scope::Admin], [true, true, true, true]),
    ];
    for (scopes, expected) in cases {
        assert_eq!(Scope::ALL.map(|scope| Scopes::of(scopes).allows(scope)), expected, "{scopes:?}");
    }
    let ingest = Principal { scopes: Scopes::of(&[Scope::Ingest]), ..Principal::local("acme") };
    let refused = ingest.require(Scope::Operate).unwrap_err();
    assert_eq!((refused.kind, refused.extra["scope"].as_str()), (RefusalKind::ScopeMissing, Some("operate")));
}

#[test]
fn stored_keys_read_back_and_hold_no_secret() {
    let ring = KeyRing::default();
    let (_, key) = made(&ring, Some(Timestamp::from_nanos(1_700_000_000_123_456_789)));
    let text = serde_json::to_string(&ring.stored()).unwrap();
    let secret = &key[20..];
    assert!(!text.contains(secret) && !format!("{ring:?}").contains(secret));
    assert!(text.contains(r#""expiresAt":"2023-11-14T22:13:20.123456789Z""#), "{text}");
    let again: Vec<StoredKey> = serde_json::from_str(&text).unwrap();
    assert_eq!(again, ring.stored());
    assert_eq!(refusal(&KeyRing::new(again), &key, at(1)), None);
}

#[test]
fn a_bootstrap_key_is_a_whole_key() {
    let text = format!("fm_{}_{}\n", "0123456789abcdef", "ab".repeat(32));
    let ring = KeyRing::new([StoredKey::bootstrap(&text, "default", at(0)).unwrap()]);
    let principal = ring.authenticate(Some(text.trim()), at(1)).unwrap();
    assert!(principal.allows(Scope::Admin));
    ring.put(ring.revoked(principal.key.unwrap(), at(2)).unwrap());
    ring.put_new(StoredKey::bootstrap(&text, "default", at(3)).unwrap());
    assert_eq!(refusal(&ring, text.trim(), at(4)), Some(Unauthenticated::Revoked), "a restart does not undo a revocation");
    let why = StoredKey::bootstrap("hunter2", "default", at(0)).unwrap_err().to_string();
    assert!(why.contains("openssl rand") && !why.contains("hunter2"), "{why}");
}
