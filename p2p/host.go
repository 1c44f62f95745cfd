package p2p

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

type Host struct{}

func New(ctx context.Context, cfg Config, handlers Handlers) (*Host, error) { return nil, ErrClosed }
func (h *Host) Close() error                                                { return nil }
func (h *Host) ID() peer.ID                                                 { return "" }
func (h *Host) Addrs() []string                                             { return nil }
func (h *Host) PublishTransactions(raws ...[]byte)                          {}
func (h *Host) PublishFinalization(msg []byte)                              {}
func (h *Host) SendTransactions(to peer.ID, raws [][]byte) error            { return nil }
func (h *Host) SetValidators(ids []peer.ID)                                 {}
func (h *Host) SendConsensus(to peer.ID, msg []byte) bool                   { return false }
func (h *Host) Request(ctx context.Context, to peer.ID, name string, req []byte) ([]byte, error) {
	return nil, nil
}
func (h *Host) Peers() []PeerInfo                           { return nil }
func (h *Host) Penalize(p peer.ID, f Fault)                 {}
func (h *Host) Connect(ctx context.Context, a string) error { return nil }
func (h *Host) Metrics() map[string]uint64                  { return nil }

// PeerInfo is what an operator sees of a connected peer.
type PeerInfo struct {
	ID        peer.ID
	Addrs     []string
	Direction string
	Latency   time.Duration
	Validator bool
	UserAgent string
	RuleSets  []string
	Since     time.Time
}

type Fault string

const (
	FaultMalformed = Fault("malformed message")
	FaultInvalid   = Fault("invalid content")
)
