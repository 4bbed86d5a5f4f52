//! The two formats of a page.

use super::page::{Form, Kind, Page, escape, seconds};

fn page(form: Form) -> String {
    let mut page = Page::new(form);
    page.family("a_info", Kind::Info, "The version");
    page.line("version=\"1\"", 1);
    page.one("b_total", Kind::Counter, "How many", 7);
    page.one("c_seconds", Kind::Gauge, "How long", seconds(1_234_567_890));
    page.finish()
}

#[test]
fn each_format_names_families_in_its_own_way() {
    let prometheus = "# HELP a_info The version\n# TYPE a_info gauge\na_info{version=\"1\"} 1\n\
                      # HELP b_total How many\n# TYPE b_total counter\nb_total 7\n\
                      # HELP c_seconds How long\n# TYPE c_seconds gauge\nc_seconds 1.234\n";
    assert_eq!(page(Form::Prometheus), prometheus);
    let open_metrics = "# HELP a The version\n# TYPE a info\na_info{version=\"1\"} 1\n\
                        # HELP b How many\n# TYPE b counter\nb_total 7\n\
                        # HELP c_seconds How long\n# TYPE c_seconds gauge\nc_seconds 1.234\n# EOF\n";
    assert_eq!(page(Form::OpenMetrics), open_metrics);
}

#[test]
fn the_format_is_the_one_that_is_accepted() {
    let accepts = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
    assert_eq!(Form::of_accept(accepts), Form::OpenMetrics);
    assert_eq!(Form::of_accept("text/plain"), Form::Prometheus);
    assert_eq!(Form::of_accept("*/*"), Form::Prometheus);
}

#[test]
fn labels_are_escaped_and_times_are_not_negative() {
    assert_eq!(escape("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    assert_eq!((seconds(-5), seconds(0)), ("0.000".to_owned(), "0.000".to_owned()));
}
