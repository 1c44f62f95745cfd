package wallet

import (
	"fmt"

	"cairn/crypto"
)

// ErrorKind names one way in which something is not what it should be. Match it
// with errors.Is; the message around it tells the detail.
type ErrorKind string

func (k ErrorKind) Error() string { return string(k) }

// The kinds of amounts.
const (
	ErrAmountEmpty    = ErrorKind("amount is empty")
	ErrAmountNegative = ErrorKind("amount is negative")
	ErrAmountSyntax   = ErrorKind("amount is not a decimal number with a unit")
	ErrAmountUnit     = ErrorKind("amount has an unknown unit, want wei, gwei or coin")
	ErrAmountNoUnit   = ErrorKind("amount has no unit, want wei, gwei or coin")
	ErrAmountDecimals = ErrorKind("amount has more decimals than its unit")
	ErrAmountRange    = ErrorKind("amount does not fit 256 bits")
)

// The kinds of key files.
const (
	ErrKeyFileSize       = ErrorKind("key file is too large")
	ErrKeyFileJSON       = ErrorKind("key file is not JSON of the Web3 Secret Storage format")
	ErrKeyFilePlain      = ErrorKind("key file holds an unencrypted key")
	ErrKeyFileVersion    = ErrorKind("key file is not version 3")
	ErrKeyFileAddress    = ErrorKind("key file has no valid address")
	ErrKeyFileCipher     = ErrorKind("key file has an unknown cipher, want aes-128-ctr")
	ErrKeyFileIV         = ErrorKind("key file has an initialization vector that is not 16 bytes")
	ErrKeyFileCiphertext = ErrorKind("key file has a ciphertext that is not 32 bytes")
	ErrKeyFileMAC        = ErrorKind("key file has a MAC that is not 32 bytes")
	ErrKeyFileKDF        = ErrorKind("key file has an unknown key derivation, want scrypt or pbkdf2")
	ErrKeyFileKDFParams  = ErrorKind("key file has bad key derivation parameters")
	ErrKeyFileMismatch   = ErrorKind("key file holds the key of another address")
)

// The kinds of the key store.
const (
	ErrPassword      = ErrorKind("wrong password")
	ErrPasswordEmpty = ErrorKind("password is empty")
	ErrAccountName   = ErrorKind("account name must be 1 to 64 letters, digits, '.', '_' or '-', start with a letter or digit, not end in .json, and look like no address or key")
	ErrAccountExists = ErrorKind("account exists")
	ErrNoAccount     = ErrorKind("no such account in the key store")
	ErrLooksLikeKey  = ErrorKind("that looks like a private key: never give one as an argument, and treat this one as known to others")
)

// The kinds of the client.
const (
	ErrURL         = ErrorKind("node URL must be http://, https://, ws:// or wss://")
	ErrUnreachable = ErrorKind("cannot reach the node")
	ErrAnswer      = ErrorKind("the node's answer makes no sense")
	ErrNotFound    = ErrorKind("not found")
	ErrNotFinal    = ErrorKind("not final in time")
	ErrReplaced    = ErrorKind("another transaction with the same nonce is final instead")
	ErrChainID     = ErrorKind("the node is on another chain")
	ErrFee         = ErrorKind("fee settings make no sense")
	ErrFeeTooHigh  = ErrorKind("the node asks for a fee above the wallet's limit")
	ErrWrongKey    = ErrorKind("the key is not the sender's")
)

// The kinds of what is checked against a genesis file.
const (
	ErrGenesisFile  = ErrorKind("the genesis file makes no network")
	ErrOtherNetwork = ErrorKind("the node is on another network than the genesis file's")
	ErrUnproven     = ErrorKind("the node does not prove what it says")
)

// RejectedError is a JSON-RPC error: the node understood and refused.
type RejectedError struct {
	Method  string
	Code    int
	Message string
}

func (e *RejectedError) Error() string {
	return fmt.Sprintf("the node rejected %s: %s (code %d)", e.Method, e.Message, e.Code)
}

// FailedError is a transaction that is final with status 0: it moved nothing,
// yet its nonce is used and its fee is paid.
type FailedError struct {
	Hash   crypto.Hash
	Height uint64
}

func (e *FailedError) Error() string {
	return fmt.Sprintf("transaction %s is final in block %d with status 0: it failed", e.Hash, e.Height)
}
