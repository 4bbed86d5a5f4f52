//! Checks the nesting of JSON before anything recursive reads it.

use crate::problem::{Code, Problem};

/// Checks that lists and objects are nested at most `depth_max` times. Only brackets outside
/// strings are counted; the reader checks whether the text is JSON.
///
/// # Errors
/// `too_deep`, with the byte where it became too deep.
pub fn check_depth(json: &[u8], depth_max: u64) -> Result<(), Box<Problem>> {
    let mut depth = 0u64;
    let mut in_string = false;
    let mut is_escaped = false;
    for (at, &byte) in json.iter().enumerate() {
        if in_string {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > depth_max {
            let detail = format!("more than {depth_max} lists and objects inside each other, at byte {at}");
            return Err(Box::new(Problem::new(Code::TooDeep, detail).extra("byte", at)));
        }
    }
    Ok(())
}
