//! Tables: conditions that hold, and invalid ones with their messages.

use serde_json::{Value, json};

use crate::notifications::condition::Condition;
use crate::notifications::vocabulary::{OPERATORS, STATUS, event_kind};

fn status() -> Value {
    json!({
        "meterId": "m", "meterName": "llm-usage", "sessionId": "R-00000007", "sessionRunType": "NORMAL",
        "sessionStatus": "FAILED", "sessionPreviousStatus": "RUNNING", "sessionStartTime": "2023-07-01T13:00:00.000Z",
        "sessionEndTime": "2023-07-01T14:00:00.000Z", "sessionError": "the disk is full",
    })
}

fn operators() -> Value {
    json!({
        "operatorId": "meter", "sessionId": "R-00000007", "sessionRunType": "NORMAL", "operatorOutputCount": 90,
        "operatorErrorCount": 10, "operatorTotalCount": 9_007_199_254_740_993_u64, "operatorErrorPercentage": 0.1,
    })
}

#[allow(clippy::needless_pass_by_value)] // values are written in place
fn test(field: &str, op: &str, value: Value) -> Value {
    json!({"field": field, "op": op, "value": value})
}

#[test]
fn conditions_hold_by_the_fields_of_an_event() {
    let failed = test("sessionStatus", "in", json!(["FAILED", "TESTING_FAILED"]));
    let debug = test("sessionRunType", "=", json!("DEBUG"));
    let cases = [
        (STATUS, failed.clone(), true),
        (STATUS, test("sessionStatus", "in", json!(["COMPLETED"])), false),
        (STATUS, test("sessionStatus", "=", json!("FAILED")), true),
        (STATUS, test("sessionStatus", "≠", json!("FAILED")), false),
        (STATUS, test("sessionStatus", "!=", json!("RUNNING")), true),
        (STATUS, test("meterName", "startsWith", json!("llm-")), true),
        (STATUS, test("meterName", "startsWith", json!("cdr-")), false),
        (STATUS, test("sessionEndTime", "isNull", Value::Null), false),
        (STATUS, test("sessionEndTime", "isNull", json!(false)), true),
        (STATUS, test("sessionEndTime", ">", json!("2023-07-01T15:30:00+02:00")), true),
        (STATUS, test("sessionEndTime", "<", json!("2023-07-01T15:30:00+02:00")), false),
        (STATUS, test("sessionEndTime", "=", json!("2023-07-01T16:00:00+02:00")), true),
        (STATUS, test("sessionEndTime", "≤", json!("2023-07-01T14:00:00Z")), true),
        (STATUS, json!({"all": [failed, test("sessionRunType", "=", json!("NORMAL"))]}), true),
        (STATUS, json!({"all": [failed, debug]}), false),
        (STATUS, json!({"any": [failed, debug]}), true),
        (STATUS, json!({"all": [failed, {"any": [debug, test("sessionError", "startsWith", json!("the disk"))]}]}), true),
        (STATUS, json!({"all": []}), true),
        (STATUS, json!({"any": []}), false),
        (OPERATORS, test("operatorErrorPercentage", ">=", json!(0.1)), true),
        (OPERATORS, test("operatorErrorPercentage", ">", json!(0.1)), false),
        (OPERATORS, test("operatorErrorCount", ">", json!(9)), true),
        (OPERATORS, test("operatorErrorCount", "=", json!(10.0)), true),
        (OPERATORS, test("operatorTotalCount", ">", json!(9_007_199_254_740_992_u64)), true),
        (OPERATORS, test("operatorErrorCount", "in", json!([1, 10])), true),
        (OPERATORS, test("sessionEndTime", "isNull", json!(true)), true),
        (OPERATORS, test("sessionEndTime", "<", json!("2030-01-01T00:00:00Z")), false),
        (OPERATORS, test("sessionEndTime", "!=", json!("2030-01-01T00:00:00Z")), true),
    ];
    for (event, written, expected) in cases {
        let condition = Condition::read(&written, event_kind(event).unwrap()).unwrap();
        let payload = if event == STATUS { status() } else { operators() };
        assert_eq!(condition.holds(&payload), expected, "{written}");
        // The stored form reads back as the same condition.
        let kept: Condition = serde_json::from_value(serde_json::to_value(&condition).unwrap()).unwrap();
        assert_eq!(kept, condition);
    }
}

#[test]
fn invalid_conditions_are_refused_with_a_suggestion() {
    let deep = json!({"all": [{"any": [{"all": []}]}]});
    let cases = [
        (STATUS, test("sessionStatsu", "=", json!("FAILED")), "conditions.field", "did you mean `sessionStatus`?"),
        (STATUS, test("sessionStatus", "=", json!("FAILD")), "conditions.value", "did you mean `FAILED`?"),
        (STATUS, test("sessionStatus", "in", json!(["FAILED", "TESTING_FAILE"])), "conditions.value[1]", "TESTING_FAILED"),
        (STATUS, test("sessionStatus", "=", json!(3)), "conditions.value", "`sessionStatus` is a status"),
        (STATUS, test("sessionStatus", "<", json!("FAILED")), "conditions.op", "no order"),
        (STATUS, test("sessionStatus", "in", json!("FAILED")), "conditions.value", "takes a list"),
        (STATUS, test("sessionRunType", "=", json!("normal")), "conditions.value", "did you mean `NORMAL`?"),
        (STATUS, test("sessionEndTime", ">", json!("yesterday")), "conditions.value", "a time (RFC 3339)"),
        (STATUS, test("sessionEndTime", "isNull", json!("yes")), "conditions.value", "true or false"),
        (STATUS, test("meterName", "startWith", json!("x")), "conditions.op", "did you mean `startsWith`?"),
        (STATUS, json!({"field": "meterName", "op": "=", "valeu": "x"}), "conditions.valeu", "did you mean `value`?"),
        (STATUS, json!({"all": [], "any": []}), "conditions.all", "only member"),
        (STATUS, json!({"all": [test("x", "=", json!(1))]}), "conditions.all[0].field", "no field `x`"),
        (STATUS, deep, "conditions.all[0].any[0].all", "no deeper"),
        (STATUS, json!("sessionStatus = FAILED"), "conditions", "a condition is"),
        (OPERATORS, test("operatorErrorCount", ">", json!("10")), "conditions.value", "is a number"),
        (OPERATORS, test("operatorErrorCount", "startsWith", json!("1")), "conditions.op", "is a number"),
        (OPERATORS, test("sessionStatus", "=", json!("FAILED")), "conditions.field", "has no field"),
    ];
    for (event, written, field, advice) in cases {
        let refused = Condition::read(&written, event_kind(event).unwrap()).unwrap_err();
        assert_eq!(refused.field.as_deref(), Some(field), "{written}: {refused:?}");
        assert!(refused.detail.contains(advice), "{written}: {refused:?}");
    }
}
