//! The difference of two texts, line by line, in the unified form that `diff -u` and `git diff`
//! print.

/// Lines around a change that are shown.
const CONTEXT: usize = 3;
/// The maximum of changed lines for which the shortest difference is searched; its cost is the
/// square of it. Beyond it, the part that differs is shown as a whole.
const EDITS_MAX: usize = 2_000;

/// A line of one of the texts, or of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edit<'t> {
    Same(&'t str),
    Removed(&'t str),
    Added(&'t str),
}

/// Returns the difference as hunks with their places, or an empty text if there is none.
pub(super) fn unified(before: &str, after: &str) -> String {
    let (before, after): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let edits = edits(&before, &after);
    let changes: Vec<usize> = (0..edits.len()).filter(|at| !matches!(edits[*at], Edit::Same(_))).collect();
    let mut out = String::new();
    let mut next = 0;
    while next < changes.len() {
        let first = changes[next];
        let mut last = first;
        while next < changes.len() && changes[next] <= last + 2 * CONTEXT + 1 {
            last = changes[next];
            next += 1;
        }
        let (from, until) = (first.saturating_sub(CONTEXT), (last + CONTEXT + 1).min(edits.len()));
        write_hunk(&edits, from, until, &mut out);
    }
    out
}

fn write_hunk(edits: &[Edit<'_>], from: usize, until: usize, out: &mut String) {
    let of_before = |edits: &[Edit<'_>]| edits.iter().filter(|edit| !matches!(edit, Edit::Added(_))).count();
    let of_after = |edits: &[Edit<'_>]| edits.iter().filter(|edit| !matches!(edit, Edit::Removed(_))).count();
    let place = |sign: char, lines: usize, skipped: usize| match lines {
        0 => format!("{sign}{skipped},0"),
        1 => format!("{sign}{}", skipped + 1),
        lines => format!("{sign}{},{lines}", skipped + 1),
    };
    let hunk = &edits[from..until];
    let old = place('-', of_before(hunk), of_before(&edits[..from]));
    let new = place('+', of_after(hunk), of_after(&edits[..from]));
    out.push_str(&format!("@@ {old} {new} @@\n"));
    for edit in hunk {
        let (sign, line) = match edit {
            Edit::Same(line) => (' ', line),
            Edit::Removed(line) => ('-', line),
            Edit::Added(line) => ('+', line),
        };
        out.push_str(&format!("{sign}{line}\n"));
    }
}

/// Returns the lines of both texts in order. Removed lines precede added ones at their place.
fn edits<'t>(before: &[&'t str], after: &[&'t str]) -> Vec<Edit<'t>> {
    let start = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    let (old, new) = (&before[start..], &after[start..]);
    let end = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[..old.len() - end], &new[..new.len() - end]);
    let mut found: Vec<Edit<'t>> = before[..start].iter().map(|line| Edit::Same(line)).collect();
    found.extend(shortest(old, new).unwrap_or_else(|| {
        let removed = old.iter().map(|line| Edit::Removed(line));
        removed.chain(new.iter().map(|line| Edit::Added(line))).collect()
    }));
    found.extend(before[before.len() - end..].iter().map(|line| Edit::Same(line)));
    found
}

/// Returns the shortest difference by the greedy algorithm of Myers (1986), or `None` if it has
/// more than [`EDITS_MAX`] changed lines.
fn shortest<'t>(old: &[&'t str], new: &[&'t str]) -> Option<Vec<Edit<'t>>> {
    let most = (old.len() + new.len()).min(EDITS_MAX);
    // `ends[k + most + 1]` is how far into `old` a path on diagonal `k` has come.
    let middle = most + 1;
    let mut ends = vec![0usize; 2 * most + 3];
    let mut trace: Vec<Vec<usize>> = Vec::new();
    for changed in 0..=most {
        // Only diagonals within `changed` of the middle are in use.
        trace.push(ends[middle - changed.min(most)..=middle + changed.min(most)].to_vec());
        for diagonal in (middle - changed..=middle + changed).step_by(2) {
            let is_added =
                diagonal == middle - changed || (diagonal != middle + changed && ends[diagonal - 1] < ends[diagonal + 1]);
            let mut x = if is_added { ends[diagonal + 1] } else { ends[diagonal - 1] + 1 };
            let y = |x: usize| x + middle - diagonal;
            while x < old.len() && y(x) < new.len() && old[x] == new[y(x)] {
                x += 1;
            }
            ends[diagonal] = x;
            if x >= old.len() && y(x) >= new.len() {
                return Some(backtrack(old, new, &trace));
            }
        }
    }
    None
}

/// Walks the way that [`shortest`] found back from its end. `trace[d]` has the ends of the
/// diagonals from `-d` to `d` before the step with `d` changed lines.
fn backtrack<'t>(old: &[&'t str], new: &[&'t str], trace: &[Vec<usize>]) -> Vec<Edit<'t>> {
    let (mut x, mut y) = (old.len(), new.len());
    let mut found = Vec::new();
    for (changed, ends) in trace.iter().enumerate().rev() {
        // The diagonal `x - y`, as an index of `ends`.
        let at = (x + changed).wrapping_sub(y);
        let (mut from_x, mut from_y) = (0, 0);
        let mut is_added = false;
        if changed > 0 {
            is_added = at == 0 || (at != 2 * changed && ends[at - 1] < ends[at + 1]);
            let before = if is_added { at + 1 } else { at - 1 };
            from_x = ends[before];
            from_y = (from_x + changed).wrapping_sub(before);
        }
        let (stop_x, stop_y) = match (changed, is_added) {
            (0, _) => (0, 0),
            (_, true) => (from_x, from_y + 1),
            (_, false) => (from_x + 1, from_y),
        };
        while x > stop_x && y > stop_y {
            (x, y) = (x - 1, y - 1);
            found.push(Edit::Same(old[x]));
        }
        if changed > 0 {
            found.push(if is_added { Edit::Added(new[from_y]) } else { Edit::Removed(old[from_x]) });
            (x, y) = (from_x, from_y);
        }
    }
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(edits: &[Edit<'_>]) -> (Vec<String>, Vec<String>) {
        let owned = |lines: Vec<&str>| lines.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let of = |is_old: bool| {
            let line = |edit: &Edit<'_>| match *edit {
                Edit::Same(line) => Some(line.to_owned()),
                Edit::Removed(line) => is_old.then(|| line.to_owned()),
                Edit::Added(line) => (!is_old).then(|| line.to_owned()),
            };
            edits.iter().filter_map(line).collect::<Vec<_>>()
        };
        (owned(of(true).iter().map(String::as_str).collect()), of(false))
    }

    #[test]
    fn a_difference_has_its_places_and_three_lines_around() {
        let before = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\nm\n";
        for (after, expected) in [
            (before.to_owned(), String::new()),
            (before.replace("f\n", "F\n"), "@@ -3,7 +3,7 @@\n c\n d\n e\n-f\n+F\n g\n h\n i\n".to_owned()),
            (before.replace("a\n", ""), "@@ -1,4 +1,3 @@\n-a\n b\n c\n d\n".to_owned()),
            (format!("{before}n\n"), "@@ -11,3 +11,4 @@\n k\n l\n m\n+n\n".to_owned()),
            (
                before.replace("a\n", "A\n").replace("m\n", ""),
                "@@ -1,4 +1,4 @@\n-a\n+A\n b\n c\n d\n@@ -10,4 +10,3 @@\n j\n k\n l\n-m\n".to_owned(),
            ),
        ] {
            assert_eq!(unified(before, &after), expected, "{after:?}");
        }
        assert_eq!(unified("", "a\n"), "@@ -0,0 +1 @@\n+a\n");
        assert_eq!(unified("a\n", ""), "@@ -1 +0,0 @@\n-a\n");
    }

    #[test]
    fn both_texts_can_be_read_from_their_difference() {
        let mut seed = 7u64;
        let mut line = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ["a", "b", "c", "d"][(seed >> 33) as usize % 4]
        };
        for length in 0..40 {
            let old: Vec<&str> = (0..length).map(|_| line()).collect();
            let new: Vec<&str> = (0..(length * 7 + 3) % 31).map(|_| line()).collect();
            let found = edits(&old, &new);
            let (read_old, read_new) = texts(&found);
            assert_eq!(
                (read_old, read_new),
                (old.iter().map(|l| (*l).to_owned()).collect(), new.iter().map(|l| (*l).to_owned()).collect())
            );
            let changed = found.iter().filter(|edit| !matches!(edit, Edit::Same(_))).count();
            assert_eq!(changed, old.len() + new.len() - 2 * common(&old, &new), "{old:?} {new:?}");
        }
    }

    /// Returns the length of the longest common subsequence, by the plain table.
    fn common(old: &[&str], new: &[&str]) -> usize {
        let mut table = vec![vec![0; new.len() + 1]; old.len() + 1];
        for (i, a) in old.iter().enumerate() {
            for (j, b) in new.iter().enumerate() {
                table[i + 1][j + 1] = if a == b { table[i][j] + 1 } else { table[i][j + 1].max(table[i + 1][j]) };
            }
        }
        table[old.len()][new.len()]
    }

    #[test]
    fn texts_without_a_common_line_are_shown_whole() {
        let before: String = (0..3_000).map(|n| format!("old {n}\n")).collect();
        let after: String = (0..3_000).map(|n| format!("new {n}\n")).collect();
        let shown = unified(&before, &after);
        assert_eq!(shown.lines().count(), 6_001);
        assert!(shown.starts_with("@@ -1,3000 +1,3000 @@\n-old 0\n"));
    }
}
