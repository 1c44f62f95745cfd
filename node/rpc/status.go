package rpc

import (
	"github.com/ethereum/go-ethereum/common/hexutil"

	"cairn/crypto"
)

// Status is the answer of cairn_status: what an operator needs on one screen.
// Peer addresses are not in it; they are on the admin interface only.
type Status struct {
	Version       string         `json:"version"`
	ChainID       hexutil.Uint64 `json:"chainId"`
	GenesisHash   crypto.Hash    `json:"genesisHash"`
	Height        hexutil.Uint64 `json:"height"` // of the last final block
	Hash          crypto.Hash    `json:"hash"`
	StateRoot     crypto.Hash    `json:"stateRoot"`
	Timestamp     hexutil.Uint64 `json:"timestampMillis"`
	Epoch         hexutil.Uint64 `json:"epoch"`
	View          hexutil.Uint64 `json:"view"`
	FinalizedView hexutil.Uint64 `json:"finalizedView"`
	Leader        string         `json:"leader"` // name of the validator whose view it is
	Role          string         `json:"role"`   // validator or full
	Name          string         `json:"name"`   // of this validator; empty for a full node
	Voting        bool           `json:"voting"`
	Observing     bool           `json:"observing"` // it may have forgotten votes and signs nothing until it is safe to
	Armed         bool           `json:"armed"`     // the view has work and its deadlines run
	Peers         int            `json:"peers"`
	Validators    int            `json:"validators"`          // members of the epoch's set
	Quorum        int            `json:"quorum"`              // votes that make a certificate
	Connected     int            `json:"validatorsConnected"` // members reachable now, this node included if it is one
	Syncing       bool           `json:"syncing"`
	Target        hexutil.Uint64 `json:"targetHeight"` // verified height that the node syncs to, else Height
	Sync          *Sync          `json:"sync"`         // null while the node is in step
	Pending       int            `json:"pendingTransactions"`
	Queued        int            `json:"queuedTransactions"`
	Healthy       bool           `json:"healthy"`
	Problems      []string       `json:"problems"` // each says what an operator can do
}

// Ways to catch up.
const (
	SyncReplay   = "replay"   // executes the blocks that it lacks
	SyncSnapshot = "snapshot" // fetches the state of a recent block
)

// Sync is how far a node that is behind has come. Where heights are not what is
// fetched, the rate says of what.
type Sync struct {
	Mode    string         `json:"mode"`          // SyncReplay or SyncSnapshot
	Start   hexutil.Uint64 `json:"startHeight"`   // of the final head when it began
	Current hexutil.Uint64 `json:"currentHeight"` // final and served here
	Target  hexutil.Uint64 `json:"targetHeight"`  // that is known to be final elsewhere
	Done    float64        `json:"done"`          // part of the present work that is done, 0 to 1
	Rate    float64        `json:"rate"`          // a second
	Unit    string         `json:"unit"`          // of the rate: "blocks" or "bytes"
	ETA     float64        `json:"etaSeconds"`    // until it is in step at this rate; 0 = unknown
}
