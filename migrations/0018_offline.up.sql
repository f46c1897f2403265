-- Machines without a network: what their requests and receipts are known by.

ALTER TABLE licet.activations
    -- The machine's own Ed25519 public key, which signs the receipt that gives the activation back.
    ADD COLUMN machine_key   bytea,
    -- The request that the machine's newest license file answers.
    ADD COLUMN request_nonce text,
    ADD CONSTRAINT activations_machine_key_length CHECK (octet_length(machine_key) = 32),
    ADD CONSTRAINT activations_request_nonce_length CHECK (length(request_nonce) = 22);

-- A request activates once, even after its activation was given back.
CREATE UNIQUE INDEX activations_request_key ON licet.activations (org_id, license_id, request_nonce)
    WHERE request_nonce IS NOT NULL;
