//! Writes what `iptables-restore` is to do, and finds the line that it complains about.

use std::fmt::Write;

use super::super::plan::Removal;

/// The input that carries removals out; tables of which nothing is to go are left out.
///
/// A declared chain is emptied, and made if it is gone by now, so that deleting it cannot fail for that.
pub(super) fn input(removals: &[Removal<String>]) -> String {
    let mut input = String::new();
    for removal in removals.iter().filter(|removal| !removal.is_empty()) {
        // Writing to a text cannot fail.
        let _ = writeln!(input, "*{}", removal.table);
        for chain in &removal.chains {
            let _ = writeln!(input, ":{chain} - [0:0]");
        }
        for (_, rule) in &removal.jumps {
            let _ = writeln!(input, "-D {rule}");
        }
        for chain in &removal.chains {
            let _ = writeln!(input, "-X {chain}");
        }
        input.push_str("COMMIT\n");
    }
    input
}

/// The line of `input` that a complaint names by its number, as `iptables-restore: line 7 failed` does.
///
/// At the end of a table, where all of it is handed to the kernel, the table is named instead.
pub(super) fn blamed_line(input: &str, complaint: &str) -> Option<String> {
    let number = complaint.match_indices("line").find_map(|(at, word)| {
        let digits = complaint[at + word.len()..].trim_start_matches([' ', ':']);
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse::<usize>().ok()
    })?;
    let line = input.lines().nth(number.checked_sub(1)?)?;
    if line != "COMMIT" {
        return Some(line.to_owned());
    }
    let table = input.lines().take(number).filter(|line| line.starts_with('*')).last()?;
    Some(format!("{line} of {table}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn removal(table: &str, chains: &[&str]) -> Removal<String> {
        Removal {
            table: table.to_owned(),
            jumps: chains.iter().map(|to| ("OUTPUT".to_owned(), format!("OUTPUT -j {to}"))).collect(),
            chains: chains.iter().map(|chain| (*chain).to_owned()).collect(),
            kept: BTreeMap::new(),
        }
    }

    #[test]
    fn chains_are_emptied_then_unhooked_then_deleted_table_by_table() {
        let removals =
            [removal("nat", &["KUBE-A", "KUBE-B"]), removal("mangle", &[]), removal("filter", &["KUBE-A"])];
        let wanted = "*nat\n:KUBE-A - [0:0]\n:KUBE-B - [0:0]\n-D OUTPUT -j KUBE-A\n-D OUTPUT -j KUBE-B\n\
                      -X KUBE-A\n-X KUBE-B\nCOMMIT\n\
                      *filter\n:KUBE-A - [0:0]\n-D OUTPUT -j KUBE-A\n-X KUBE-A\nCOMMIT\n";
        assert_eq!(input(&removals), wanted);
        assert_eq!(input(&[]), "");
    }

    #[test]
    fn a_complaint_leads_to_its_line() {
        let input = input(&[removal("nat", &["KUBE-A"])]);
        let blamed = |complaint| blamed_line(&input, complaint);
        assert_eq!(blamed("iptables-restore: line 3 failed").as_deref(), Some("-D OUTPUT -j KUBE-A"));
        assert_eq!(blamed("Error occurred at line: 4").as_deref(), Some("-X KUBE-A"));
        assert_eq!(blamed("iptables-restore: line 5 failed").as_deref(), Some("COMMIT of *nat"));
    }

    #[test]
    fn a_complaint_without_a_line_of_the_input_blames_none() {
        for complaint in
            ["", "no memory", "line", "line 0 failed", "line 99 failed", "line 99999999999999999999"]
        {
            assert_eq!(blamed_line("*nat\n", complaint), None, "{complaint}");
        }
    }
}
