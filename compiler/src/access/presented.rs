//! The token that a caller presents.

use flock_shared::token::BearerToken;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::denied::Denied;

/// The one bearer token among `headers`.
pub(super) fn token(headers: &HeaderMap) -> Result<BearerToken, Denied> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Denied::NoToken)?;
    if values.next().is_some() {
        return Err(Denied::MalformedToken);
    }
    let (scheme, token) =
        value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or(Denied::MalformedToken)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Denied::MalformedToken);
    }
    BearerToken::new(token.trim()).map_err(|_| Denied::MalformedToken)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn presented(values: &[&'static str]) -> Result<String, Denied> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        token(&headers).map(|token| token.secret().to_owned())
    }

    #[test]
    fn there_is_one_bearer_token_or_none() {
        assert_eq!(presented(&["Bearer a.b"]), Ok("a.b".to_owned()));
        assert_eq!(presented(&["bearer a.b"]), Ok("a.b".to_owned()));
        assert_eq!(presented(&[]), Err(Denied::NoToken));
        for wrong in [&["Bearer a", "Bearer b"][..], &["a"], &["Basic a"], &["Bearer "], &["Bearer a b"]] {
            assert_eq!(presented(wrong), Err(Denied::MalformedToken), "{wrong:?}");
        }
    }
}
