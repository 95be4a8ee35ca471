//! The codes by which package managers say why they failed.

use std::borrow::Cow;

/// The code in a line of a package manager: `E404` in `npm error code E404`, and what pnpm and Yarn say of the same written
/// likewise.
pub(crate) fn error_code(line: &str) -> Option<Cow<'_, str>> {
    let code = of_npm(line).or_else(|| of_pnpm(line)).map(Cow::Borrowed).or_else(|| of_yarn(line))?;
    // pnpm's name for an answer of a registry.
    Some(match code.strip_prefix("FETCH_").filter(|status| status.len() == 3) {
        Some(status) => Cow::Owned(format!("E{status}")),
        None => code,
    })
}

/// `npm error code E404` (npm 10 and later) or `npm ERR! code E404`.
fn of_npm(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("npm error code ").or_else(|| line.strip_prefix("npm ERR! code "))?;
    Some(rest.trim()).filter(|code| is_code(code))
}

/// pnpm until version 10 has its codes between thin spaces, 11 in brackets, and 12 after a word.
fn of_pnpm(line: &str) -> Option<&str> {
    const THIN: char = '\u{2009}';
    let between = || line.trim_start_matches(' ').strip_prefix(THIN)?.split(THIN).next();
    let in_brackets = || line.strip_prefix('[')?.split(']').next().filter(|code| code.starts_with(OF_PNPM));
    let after_word = || line.strip_prefix("Error: ").filter(|code| code.starts_with(OF_PNPM));
    let code = between().or_else(in_brackets).or_else(after_word)?.trim();
    Some(code.strip_prefix(OF_PNPM).unwrap_or(code)).filter(|code| is_code(code))
}

/// How pnpm's own codes begin.
const OF_PNPM: &str = "ERR_PNPM_";

/// Yarn has sentences.
fn of_yarn(line: &str) -> Option<Cow<'_, str>> {
    let newer =
        line.strip_prefix("➤ ").map(|line| line.trim_start_matches(|c| c != '│').trim_start_matches('│').trim());
    if let Some(says) = newer {
        if let Some(status) = says.strip_prefix("Response Code: ") {
            return status.get(..3).filter(|status| status.bytes().all(|b| b.is_ascii_digit())).map(status_code);
        }
        return says.strip_prefix("RequestError: ").and_then(of_connection).map(Cow::Borrowed);
    }
    if let Some(status) = line.trim().strip_prefix("responseCode: ") {
        return status.get(..3).map(status_code);
    }
    line.strip_prefix("error Error: ").and_then(of_connection).map(Cow::Borrowed)
}

fn status_code(status: &str) -> Cow<'static, str> {
    Cow::Owned(format!("E{status}"))
}

/// What Node says of a connection: `connect ECONNREFUSED 127.0.0.1:1`, `https://x: socket hang up`.
fn of_connection(says: &str) -> Option<&str> {
    if says.ends_with("socket hang up") {
        return Some("ECONNRESET");
    }
    says.split([' ', ':']).find(|word| word.starts_with('E') && is_infrastructure(word))
}

fn is_code(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether an install ends so as long as nobody changes what it installs, or by what.
pub(crate) fn is_certain(code: &str) -> bool {
    const NPM: [&str; 4] = ["ETARGET", "ERESOLVE", "EBADENGINE", "EUSAGE"];
    const PNPM: [&str; 3] = ["NO_MATCHING_VERSION", "UNSUPPORTED_ENGINE", "OUTDATED_LOCKFILE"];
    NPM.contains(&code) || PNPM.contains(&code)
}

/// Whether it is the network, the registry or this machine that failed, and not the package.
pub(crate) fn is_infrastructure(code: &str) -> bool {
    const MACHINE: [&str; 27] = [
        "META_FETCH_FAIL",
        "RESOLVING_NPM_RESOLVER_NETWORK_ERROR",
        "ECONNREFUSED",
        "ECONNRESET",
        "ECONNABORTED",
        "ENOTFOUND",
        "ETIMEDOUT",
        "ESOCKETTIMEDOUT",
        "EAI_AGAIN",
        "EAI_FAIL",
        "EHOSTUNREACH",
        "ENETUNREACH",
        "EHOSTDOWN",
        "ENETDOWN",
        "EPIPE",
        "EPROTO",
        "ENOSPC",
        "EDQUOT",
        "EMFILE",
        "ENFILE",
        "ENOMEM",
        "EROFS",
        "EIO",
        "E429",
        "E401",
        "ENEEDAUTH",
        "ERR_SOCKET_TIMEOUT",
    ];
    let server_error =
        code.strip_prefix("E5").is_some_and(|rest| rest.len() == 2 && rest.bytes().all(|b| b.is_ascii_digit()));
    server_error || MACHINE.contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_tell_the_machine_from_the_package() {
        for code in ["ECONNREFUSED", "ENOTFOUND", "ETIMEDOUT", "EAI_AGAIN", "ECONNRESET", "E500", "E503", "ENOSPC"] {
            assert!(is_infrastructure(code), "{code}");
        }
        for code in ["E404", "ETARGET", "ERESOLVE", "E403", "E5", "E5XX", "1", "ELIFECYCLE"] {
            assert!(!is_infrastructure(code), "{code}");
        }
        assert_eq!(error_code("npm error code E404"), Some("E404".into()));
        assert_eq!(error_code("npm ERR! code ECONNREFUSED"), Some("ECONNREFUSED".into()));
        assert_eq!(error_code("npm error 404 Not Found"), None);
    }

    #[test]
    fn each_manager_says_it_in_its_own_way() {
        // As pnpm 10 to 12, Yarn 1 and 4 say it.
        for machine in [
            "\u{2009}ERR_PNPM_META_FETCH_FAIL\u{2009} GET http://127.0.0.1:1/a: request failed, reason: connect ECONNREFUSED",
            "\u{2009}ERR_PNPM_FETCH_500\u{2009} GET http://127.0.0.1:1/a: Internal Server Error - 500",
            "\u{2009}ENOTFOUND\u{2009} request to https://x.example/a failed",
            "[ERR_PNPM_META_FETCH_FAIL] GET http://127.0.0.1:1/a: fetch failed",
            "[ERR_PNPM_FETCH_503] GET http://127.0.0.1:1/a: Service Unavailable - 503",
            "Error: ERR_PNPM_RESOLVING_NPM_RESOLVER_NETWORK_ERROR",
            "Error: ERR_PNPM_FETCH_500",
            "error Error: connect ECONNREFUSED 127.0.0.1:1",
            "error Error: http://127.0.0.1:1/a: socket hang up",
            "  responseCode: 500",
            "➤ YN0001: │ RequestError: connect ECONNREFUSED 127.0.0.1:1",
            "➤ YN0001: │ RequestError: socket hang up",
            "➤ YN0035: │   Response Code: 502 (Bad Gateway)",
        ] {
            assert!(error_code(machine).is_some_and(|code| is_infrastructure(&code)), "{machine}");
        }
        for package in [
            "\u{2009}ERR_PNPM_FETCH_404\u{2009} GET http://127.0.0.1:1/a: Not Found - 404",
            "[ERR_PNPM_OUTDATED_LOCKFILE] Cannot install",
            "Error: ERR_PNPM_NO_MATCHING_VERSION",
            "error Couldn't find package \"a\" on the \"npm\" registry.",
            "➤ YN0035: │   Response Code: 404 (Not Found)",
            "➤ YN0028: │ The lockfile would have been modified by this install, which is explicitly forbidden.",
            "Error: connect ECONNREFUSED 127.0.0.1:5432",
            "[ECONNREFUSED] my own test",
            "➤ YN0000: · Failed with errors in 1s",
            "\u{2009}",
            "➤ ",
            "responseCode: x",
        ] {
            assert!(error_code(package).is_none_or(|code| !is_infrastructure(&code)), "{package}");
        }
    }
}
