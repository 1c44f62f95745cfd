package p2p

import (
	"fmt"

	"cairn/crypto"
)

// ErrorKind names one way in which a peer, a setting or bytes from a peer are
// not what they should be. Match it with errors.Is.
type ErrorKind string

func (k ErrorKind) Error() string { return string(k) }

// The kinds of rejection of this package.
const (
	// Settings.
	ErrConfig         = ErrorKind("setting is not valid")
	ErrKeyFile        = ErrorKind("peer key file is not valid")
	ErrKeyPermissions = ErrorKind("peer key file can be read by others")
	ErrAddress        = ErrorKind("not a multiaddr that ends in /p2p/ID")

	// Frames.
	ErrFrameTooLarge  = ErrorKind("frame is larger than its limit")
	ErrFrameEmpty     = ErrorKind("frame is empty")
	ErrFrameTruncated = ErrorKind("stream ended inside a frame")
	ErrBatchMalformed = ErrorKind("batch of transactions is malformed")
	ErrHelloMalformed = ErrorKind("handshake is malformed")
	ErrPeersMalformed = ErrorKind("list of peers is malformed")

	// Peers.
	ErrWrongGenesis    = ErrorKind("peer is on a network with another genesis")
	ErrIncompatible    = ErrorKind("peer speaks no common wire version")
	ErrNotAllowed      = ErrorKind("peer is not on the allow list")
	ErrBanned          = ErrorKind("peer is banned")
	ErrTooManyPeers    = ErrorKind("too many peers")
	ErrSelf            = ErrorKind("peer is this node")
	ErrNotConnected    = ErrorKind("peer is not connected")
	ErrValidator       = ErrorKind("peer is a validator of this epoch")
	ErrHandshake       = ErrorKind("handshake failed")
	ErrClosed          = ErrorKind("host is closed")
	ErrRequestUnknown  = ErrorKind("request name is unknown")
	ErrRequestTooLarge = ErrorKind("request is larger than its limit")
	ErrRequestTimeout  = ErrorKind("request got no answer in time")
	ErrRequestRefused  = ErrorKind("peer could not answer the request")
	ErrRateLimited     = ErrorKind("peer says: too many requests")
	ErrBadResponse     = ErrorKind("response is malformed")
)

// IncompatibleError is a peer refused by the handshake. Kind is
// ErrWrongGenesis, ErrIncompatible, ErrNotAllowed or ErrTooManyPeers.
type IncompatibleError struct {
	Kind         ErrorKind
	Ours, Theirs crypto.Hash // genesis hashes
	UserAgent    string      // of the peer
	ByPeer       bool        // the peer refused us
}

func (e *IncompatibleError) Error() string {
	who := "refused"
	if e.ByPeer {
		who = "refused by the peer"
	}
	if e.Kind == ErrWrongGenesis {
		return fmt.Sprintf("%s: %v: ours %s, theirs %s", who, e.Kind, e.Ours.Hex(), e.Theirs.Hex())
	}
	return fmt.Sprintf("%s: %v (%q)", who, e.Kind, e.UserAgent)
}

func (e *IncompatibleError) Unwrap() error { return e.Kind }
