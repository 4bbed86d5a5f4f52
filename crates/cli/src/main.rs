//! `flowmeter`: settings, wiring, subcommands. The only place that knows all rooms, and
//! the only one that asks what time it is.

mod args;
mod backup;
mod bench;
mod check;
mod client;
mod clock;
mod debug;
mod demo;
mod explain;
mod failure;
mod journal;
mod load;
mod memory;
mod periods;
mod run;
mod serve;
mod summary;
mod traces;
mod verify;
mod watch;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if matches!(arguments.command, Command::Run(_) | Command::Test(_)) {
        memory::keep_freed();
    }
    let done = match arguments.command {
        Command::Run(run) => run::run(&run),
        Command::Test(test) => debug::test(&test),
        Command::Check(check) => check::check(&check),
        Command::Serve(serve) => serve::serve(&serve),
        Command::Demo(demo) => demo::demo(&demo),
        Command::Client(commands) => client::client(commands),
        Command::Bench(args::Bench::Ingest(ingest)) => bench::ingest(&ingest),
        Command::Explain(explain) => explain::explain(&explain),
        Command::Verify(verify) => verify::verify(&verify),
        Command::Backup(backup) => backup::backup(&backup),
        Command::Restore(restore) => backup::restore(&restore),
        Command::Periods(periods) => periods::periods(&periods),
        Command::Schema => failure::print(&format!("{:#}\n", flowmeter_core::pipeline::json_schema())),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "flowmeter", &mut text);
            failure::print(&String::from_utf8_lossy(&text))
        }
        Command::Man => {
            let mut text = Vec::new();
            match clap_mangen::Man::new(Arguments::command()).render(&mut text) {
                Ok(()) => failure::print(&String::from_utf8_lossy(&text)),
                Err(why) => Err(why.into()),
            }
        }
    };
    match done {
        Ok(code) => code,
        Err(why) => failure::report(&why),
    }
}
