//! The greatest groups, the rest of an answer, its total, and the first users of a list.

use super::*;

fn filled(count: usize) -> (tempfile::TempDir, Rollups) {
    let (folder, disk) = folder();
    let mut rollups = Rollups::open(disk, "rollups", &Manifest::default(), TINY).unwrap();
    add(&mut rollups, &events(count, 5));
    (folder, rollups)
}

#[test]
fn the_rest_and_the_total_are_exact_for_every_aggregation() {
    let (_folder, rollups) = filled(400);
    for aggregation in ALL.into_iter().filter(|one| !matches!(one, Aggregation::Delta(_) | Aggregation::Weighted(_))) {
        let whole = Query::of(meter_type(aggregation), aggregation);
        let by_user = Query { group_by: vec![SUBJECT.to_owned()], ..whole.clone() };
        let partial = || rollups.snapshot(by_user.clone()).unwrap().answer().unwrap();
        let all = rollups.query(whole.clone()).unwrap();
        assert_eq!(lines(&[partial().total().unwrap().unwrap()]), lines(&all), "{aggregation:?}");
        let topped = partial().into_top(2).unwrap();
        let top: Vec<String> = topped.rows.iter().filter_map(|row| row.subject.clone()).collect();
        assert_eq!((top.len(), topped.other.len()), (2, 1), "{aggregation:?}");
        let others = partial().into_rows().into_iter().filter_map(|row| row.subject).filter(|user| !top.contains(user));
        let rest = rollups.query(Query { subjects: Some(others.collect()), ..whole }).unwrap();
        assert_eq!(lines(&topped.other), lines(&rest), "{aggregation:?}");
    }
}

#[test]
fn the_top_has_the_greatest_values_and_no_rest_if_there_are_few() {
    let (_folder, rollups) = filled(400);
    let sum = Query::of(meter_type(Aggregation::Sum), Aggregation::Sum);
    let by_user = Query { group_by: vec![SUBJECT.to_owned()], ..sum };
    let partial = || rollups.snapshot(by_user.clone()).unwrap().answer().unwrap();
    let rounded = |row: &Row| row.value.unwrap().round(18, flowmeter_core::decimal::Rounding::HalfEven).unwrap();
    let greatest = partial().into_rows().iter().map(rounded).max().unwrap();
    assert_eq!(rounded(&partial().into_top(1).unwrap().rows[0]), greatest);
    let all = partial().into_top(1_000).unwrap();
    assert_eq!((lines(&all.rows), all.other.len()), (lines(&partial().into_rows()), 0));
}

#[test]
fn lists_give_the_first_texts_after_another() {
    let (_folder, rollups) = filled(400);
    let kind = meter_type(Aggregation::Sum);
    for field in [SUBJECT, "plan"] {
        let listed = |first: Option<First>| {
            let query = Query { first, ..Query::of_values(kind, field) };
            let rows = rollups.query(query).unwrap();
            rows.into_iter().filter_map(|row| row.subject.or_else(|| row.groups.into_iter().next()?.1)).collect::<Vec<_>>()
        };
        let all = listed(None);
        assert!(all.len() > 2, "{field}: {all:?}");
        let two = First { prefix: String::new(), after: None, count: 2 };
        let mut found = listed(Some(two.clone()));
        found.truncate(2);
        assert_eq!(found, all[..2]);
        let mut found = listed(Some(First { after: Some(all[0].clone()), ..two.clone() }));
        found.truncate(2);
        assert_eq!(found, all[1..3]);
        assert_eq!(listed(Some(First { prefix: all[1].clone(), count: 100, ..two }))[0], all[1]);
    }
}
