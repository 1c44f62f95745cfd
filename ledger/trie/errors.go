package trie

import (
	"fmt"

	"cairn/crypto"
)

// ErrorKind names one way in which a key, a node or a proof is not what it
// should be. Match it with errors.Is; the message around it tells the detail.
type ErrorKind string

func (k ErrorKind) Error() string { return string(k) }

// The kinds of rejection of this package.
const (
	ErrKeyLength     = ErrorKind("trie key has a wrong length")
	ErrNode          = ErrorKind("trie node is malformed")
	ErrNodeDepth     = ErrorKind("trie node does not fit the length of the keys")
	ErrProofTooLong  = ErrorKind("proof has more nodes than the key allows")
	ErrProofTooShort = ErrorKind("proof ends before the key is decided")
	ErrProofHash     = ErrorKind("proof node does not match the hash that refers to it")
	ErrProofExtra    = ErrorKind("proof goes on after the key is decided")
	ErrOrder         = ErrorKind("keys are not in rising order")
	ErrRange         = ErrorKind("entries are not what the trie has in that range")
)

// MissingNodeError tells that the source has no node at Path, or has another
// one than this version of the trie refers to: on a path-keyed disk, the
// ordinary end of a version that newer ones have overwritten. Match it with
// errors.As; no value was returned, so none was wrong.
type MissingNodeError struct {
	Path []byte      // nibbles, one a byte; empty for the root
	Hash crypto.Hash // keccak256 of the node that is wanted
	Err  error       // what the source answered; nil if it had nothing or another node
}

func (e *MissingNodeError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("trie node %x at path %x is missing: %v", e.Hash, e.Path, e.Err)
	}
	return fmt.Sprintf("trie node %x at path %x is missing", e.Hash, e.Path)
}

func (e *MissingNodeError) Unwrap() error { return e.Err }
