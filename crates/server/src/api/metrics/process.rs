//! The process: processor time, memory, descriptors, start. Read from `/proc`; not available on
//! other systems.

use super::page::{Kind, Page};

/// Numbers of the process, from the kernel.
#[derive(Debug, Default, PartialEq, Eq)]
struct Process {
    /// Processor time in ticks.
    cpu: u64,
    /// Start of the process, in ticks after the start of the machine.
    started: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

/// Returns the memory in use by the process; `None` where the kernel does not report it.
pub(in crate::api) fn resident_bytes() -> Option<u64> {
    let process = parse_stat(&std::fs::read_to_string("/proc/self/stat").ok()?)?;
    Some(process.resident_pages.saturating_mul(rustix::param::page_size() as u64))
}

/// Writes the numbers of the process, with the names that client libraries use.
pub(super) fn write(page: &mut Page) {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{file}")).ok();
    let Some(process) = read("self/stat").and_then(|text| parse_stat(&text)) else { return };
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    let cpu = hundredths(process.cpu, ticks);
    let help = "Processor time of the process, of users and of the kernel";
    page.one("process_cpu_seconds_total", Kind::Counter, help, cpu);
    let resident = process.resident_pages.saturating_mul(rustix::param::page_size() as u64);
    let help = "Memory of the process that is in use";
    page.one("process_resident_memory_bytes", Kind::Gauge, help, resident);
    let help = "Addresses the process has asked for";
    page.one("process_virtual_memory_bytes", Kind::Gauge, help, process.virtual_bytes);
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        let help = "Files and connections that are open";
        page.one("process_open_fds", Kind::Gauge, help, open.count());
    }
    if let Some(limit) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        page.one("process_max_fds", Kind::Gauge, "Files and connections that may be open", limit);
    }
    if let Some(booted) = read("stat").and_then(|text| boot_time(&text)) {
        let started = booted.saturating_add(process.started / ticks);
        let help = "When the process started, in seconds since 1970";
        page.one("process_start_time_seconds", Kind::Gauge, help, started);
    }
}

/// Reads the fields after the name of the program, which is in parentheses and may contain
/// anything.
fn parse_stat(text: &str) -> Option<Process> {
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // Numbered from 3 in proc(5): 14 utime, 15 stime, 22 starttime, 23 vsize, 24 rss.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let (cpu, started) = (field(14)? + field(15)?, field(22)?);
    Some(Process { cpu, started, virtual_bytes: field(23)?, resident_pages: field(24)? })
}

fn boot_time(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Returns ticks as seconds with two places.
fn hundredths(count: u64, ticks: u64) -> String {
    let hundredths = u128::from(count) * 100 / u128::from(ticks);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_is_read_whatever_the_program_is_called() {
        let text = "7 (a) b) R 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 12345 1000000 77 184 1 1";
        let (cpu, started) = (300, 12_345);
        let expected = Process { cpu, started, virtual_bytes: 1_000_000, resident_pages: 77 };
        assert_eq!(parse_stat(text), Some(expected));
        assert_eq!(parse_stat("7 (a)"), None);
        assert_eq!(boot_time("cpu 1\nbtime 1700000000\n"), Some(1_700_000_000));
        assert_eq!(hundredths(305, 100), "3.05");
        assert_eq!(hundredths(1, 1_000), "0.00");
    }
}
