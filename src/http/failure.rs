//! Failures of the wire in words: the whole chain of causes, without address and without secrets.

use std::error::Error;

/// An error's innermost story on one line: each cause once, control characters dropped.
pub fn describe(error: &dyn Error) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        let said: String = error.to_string().chars().filter(|c| !c.is_control()).collect();
        if !words.last().is_some_and(|last| last.contains(&said)) {
            words.push(said);
        }
        cause = error.source();
    }
    words.join(": ")
}

/// Was it the other side's certificate? That does not mend by itself: a person has to look.
pub fn is_certificate_fault(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let is_fault = |error: &rustls::Error| matches!(error, rustls::Error::InvalidCertificate(_));
        if error.downcast_ref::<rustls::Error>().is_some_and(is_fault) {
            return true;
        }
        // An io::Error hides what it wraps from `source`.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_fault_is_found_inside_other_errors() {
        let fault = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let wrapped = std::io::Error::other(std::io::Error::other(fault));
        assert!(is_certificate_fault(&wrapped));
        assert!(!is_certificate_fault(&std::io::Error::other("reset")));
    }

    #[test]
    fn a_description_has_no_control_characters() {
        let error = std::io::Error::other("one\ntwo\u{1b}[31m");
        assert_eq!(describe(&error), "onetwo[31m");
    }
}
