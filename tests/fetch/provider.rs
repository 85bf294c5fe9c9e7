//! The provider's answers: each refusal, each fault.
