//! RSA keys made of two primes from a fixed pool.
//!
//! Searching for primes takes seconds in a debug build, and a test that needs a few keys cannot
//! wait for that. Keys made this way are valid and differ from each other (24 primes make 276 keys
//! of 2,048 bits), but they protect nothing: the primes are public.

use num_bigint::BigUint;
use pkcs1::der::Encode as _;
use pkcs1::der::asn1::{OctetStringRef, UintRef};
use serde_json::{Map, Value};

use super::rsa_jwk;
use crate::identifier;

const EXPONENT: u32 = 65_537;

/// An RSA key.
#[derive(Debug)]
pub(crate) struct RsaKey {
    p: BigUint,
    q: BigUint,
}

impl RsaKey {
    /// A key with a modulus of 2,048, 3,072 or (for any other number) 4,096 bits.
    pub(crate) fn generate(bits: u32) -> Self {
        let pool = match bits {
            2048 => include_str!("primes-1024.txt"),
            3072 => include_str!("primes-1536.txt"),
            _ => include_str!("primes-2048.txt"),
        };
        let primes: Vec<BigUint> = pool
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| BigUint::parse_bytes(line.as_bytes(), 16))
            .collect();
        let [one, other] = identifier::random::<2>().map(usize::from);
        let one = one % primes.len();
        let other = (one + 1 + other % (primes.len() - 1)) % primes.len();
        // p is the greater one: ring and others insist on it.
        let (p, q) = (&primes[one], &primes[other]);
        let (p, q) = if p > q { (p, q) } else { (q, p) };
        Self {
            p: p.clone(),
            q: q.clone(),
        }
    }

    fn modulus(&self) -> BigUint {
        &self.p * &self.q
    }

    /// The public JSON Web Key.
    pub(crate) fn jwk(&self) -> Map<String, Value> {
        rsa_jwk(
            &self.modulus().to_bytes_be(),
            &BigUint::from(EXPONENT).to_bytes_be(),
        )
    }

    /// The private key as PKCS#8; `None` never happens with the primes of the pool.
    pub(crate) fn pkcs8(&self) -> Option<Vec<u8>> {
        let one = BigUint::from(1_u8);
        let exponent = BigUint::from(EXPONENT);
        let (p_less, q_less) = (&self.p - &one, &self.q - &one);
        let private = exponent.modinv(&(&p_less * &q_less))?;
        // In the order of RFC 8017, A.1.2.
        let numbers = [
            self.modulus(),
            exponent,
            private.clone(),
            self.p.clone(),
            self.q.clone(),
            &private % &p_less,
            &private % &q_less,
            self.q.modinv(&self.p)?,
        ]
        .map(|number| number.to_bytes_be());
        let number = |index: usize| UintRef::new(&numbers[index]).ok();
        let key = pkcs1::RsaPrivateKey {
            modulus: number(0)?,
            public_exponent: number(1)?,
            private_exponent: number(2)?,
            prime1: number(3)?,
            prime2: number(4)?,
            exponent1: number(5)?,
            exponent2: number(6)?,
            coefficient: number(7)?,
            other_prime_infos: None,
        }
        .to_der()
        .ok()?;
        let key = OctetStringRef::new(&key).ok()?;
        pkcs8::PrivateKeyInfoRef::new(pkcs1::ALGORITHM_ID, key)
            .to_der()
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::RsaKeyPair;

    use super::*;

    #[test]
    fn keys_of_every_size_are_valid() {
        for bits in [2048, 3072, 4096_u32] {
            let pkcs8 = RsaKey::generate(bits).pkcs8().unwrap();
            let key = RsaKeyPair::from_pkcs8(&pkcs8).unwrap();
            assert_eq!(key.public().modulus_len() * 8, bits as usize);
        }
    }
}
