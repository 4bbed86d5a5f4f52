//! `sim SEED` prints the history of a seed; `sim --seeds A..B` runs many. With `--server` before
//! them, they simulate a whole server instead of pipelines on a log. `sim --mutants N` puts faults
//! back one by one, and wants each to be found within N seeds; see [`mutants`].

mod mutants;

use std::collections::BTreeMap;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (run, words): (Run, &[&str]) = match &words[..] {
        ["--server", rest @ ..] => (sim::run_server, rest),
        rest => (|seed, trace| sim::run(seed, sim::STEPS, trace), rest),
    };
    match words {
        ["--mutants", seeds] => seeds.parse().map_or_else(|_| usage(), mutants::find),
        ["--seeds", range] => match range.split_once("..").map(|(from, to)| (from.parse(), to.parse())) {
            Some((Ok(from), Ok(to))) => many(run, from..to),
            _ => usage(),
        },
        [seed] => match seed.parse() {
            Ok(seed) => one(run, seed),
            Err(_) => usage(),
        },
        _ => usage(),
    }
}

/// Runs a seed of either kind of history.
type Run = fn(u64, bool) -> Result<BTreeMap<&'static str, u64>, String>;

fn usage() -> ExitCode {
    eprintln!("usage: sim [--server] SEED | sim [--server] --seeds A..B | sim --mutants N");
    ExitCode::from(2)
}

fn one(run: Run, seed: u64) -> ExitCode {
    match run(seed, true) {
        Ok(happened) => {
            println!("seed {seed} is sound: {happened:?}");
            ExitCode::SUCCESS
        }
        Err(what) => {
            println!("{what}");
            ExitCode::FAILURE
        }
    }
}

fn many(run: Run, seeds: std::ops::Range<u64>) -> ExitCode {
    let mut total: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut failed = 0;
    for seed in seeds.clone() {
        match run(seed, false) {
            Ok(happened) => happened.into_iter().for_each(|(what, times)| *total.entry(what).or_default() += times),
            Err(what) => {
                failed += 1;
                println!("{}", what.chars().take(1500).collect::<String>());
            }
        }
    }
    println!("{} seeds, {failed} failed; {total:?}", seeds.end.saturating_sub(seeds.start));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
