//! A command line in words, quoted as in a unit's `ExecStart=`, for a program that is run without a
//! shell.

/// What a shell would act on and a program would get as an argument.
const SHELL_WORDS: [&str; 9] = ["|", "||", "&", "&&", ";", ">", ">>", "<", "2>&1"];

/// Splits a command and makes sure that it can mean only one thing.
pub(super) fn parse_command(text: &str) -> Result<Vec<String>, String> {
    let words = split(text)?;
    match words.first() {
        Some(program) if program.starts_with('/') => {}
        _ => return Err("must begin with the absolute path of a program".to_owned()),
    }
    if let Some(word) = words.iter().find(|word| SHELL_WORDS.contains(&word.as_str())) {
        return Err(format!("holds {word}, but no shell reads it: put it into a script"));
    }
    Ok(words)
}

pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (c, quote) {
            ('\\', _) => word.get_or_insert_default().push(escaped(characters.next())?),
            (_, Some(open)) if c == open => quote = None,
            (_, Some(_)) => word.get_or_insert_default().push(c),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (' ' | '\t', None) => words.extend(word.take()),
            ('#', None) if word.is_none() => {
                return Err("has a # behind a blank, and no comment can stand there: put it on a \
                 line of its own, or \
                            quote it if it is meant"
                    .to_owned());
            }
            (_, None) => word.get_or_insert_default().push(c),
        }
    }
    if let Some(open) = quote {
        return Err(format!("opens a {open} and does not close it"));
    }
    words.extend(word);
    Ok(words)
}

/// The escapes of systemd.syntax(7) that make sense in an argument.
fn escaped(c: Option<char>) -> Result<char, String> {
    match c {
        Some(c @ ('\\' | '"' | '\'' | ' ')) => Ok(c),
        Some('s') => Ok(' '),
        Some('t') => Ok('\t'),
        Some('n') => Ok('\n'),
        _ => Err("has a \\ that is not followed by one of \\ \" ' s t n or a space".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_as_systemd_does() {
        let split = |text| parse_command(text).unwrap();
        assert_eq!(
            split("/bin/systemctl restart litestream"),
            ["/bin/systemctl", "restart", "litestream"]
        );
        assert_eq!(split("  /bin/x\t a  "), ["/bin/x", "a"]);
        assert_eq!(
            split(r#"/bin/x "a b" 'c "d"' e"f g"h '' "#),
            ["/bin/x", "a b", "c \"d\"", "ef gh", ""]
        );
        assert_eq!(
            split(r#"/bin/x a\sb a\ b "\"\\" \n\t"#),
            ["/bin/x", "a b", "a b", "\"\\", "\n\t"]
        );
        assert_eq!(split("/bin/x $HOME %n *"), ["/bin/x", "$HOME", "%n", "*"]);
    }

    #[test]
    fn says_what_it_cannot_split() {
        for (text, what) in [
            ("systemctl restart litestream", "must begin with the absolute path of a program"),
            ("-/bin/x", "must begin with the absolute path of a program"),
            ("   ", "must begin with the absolute path of a program"),
            ("/bin/x 'a", "opens a ' and does not close it"),
            ("/bin/x \"a", "opens a \" and does not close it"),
            ("/bin/x a\\", "has a \\ that is not followed by one of \\ \" ' s t n or a space"),
            ("/bin/x \\q", "has a \\ that is not followed by one of \\ \" ' s t n or a space"),
            (
                "/bin/x restart # or s6",
                "has a # behind a blank, and no comment can stand there: put it on a line of its \
                 own, or quote it if \
                 it is meant",
            ),
            ("/bin/x && /bin/y", "holds &&, but no shell reads it: put it into a script"),
        ] {
            assert_eq!(parse_command(text).unwrap_err(), what, "{text}");
        }
    }
}
