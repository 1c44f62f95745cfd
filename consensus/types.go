package consensus

import (
	"cairn/consensus/internal/fault"
	"cairn/crypto"
)

// Kind is one of the three votes and, with a quorum, of the three certificates.
type Kind uint8

// The votes are verbs, the certificates nouns: notarize makes a notarization.
const (
	Notarize Kind = 1 // this block is good in this view
	Nullify  Kind = 2 // this view may be skipped
	Finalize Kind = 3 // I hold the notarization of this view and never nullified it
)

// Network is what every vote of one network has in common.
type Network struct {
	ChainID uint64
	Genesis crypto.Hash // hash of block 0
}

// Subject is what a vote or certificate says. For Nullify, ParentView and Block
// are zero.
type Subject struct {
	Kind       Kind
	Epoch      uint32
	View       uint64
	ParentView uint64
	Block      crypto.Hash
}

// Vote is one member's signature of a subject. Signer is the member's index in
// the epoch's set (sorted by address).
type Vote struct {
	Subject
	Signer    uint16
	Signature crypto.Signature
}

// Certificate is a quorum of votes of one subject from distinct members:
// Signatures[i] is that of the i-th member set in Signers, lowest first.
type Certificate struct {
	Subject
	Signers    Bitmap
	Signatures []crypto.Signature
}

// Block is all that consensus knows of a block. The driver takes it from the
// header it hashed: Hash is that of the very header that holds the rest.
type Block struct {
	Hash      crypto.Hash
	Parent    crypto.Hash
	Height    uint64
	Epoch     uint32
	View      uint64 // in which it was first proposed
	Proposer  crypto.Address
	Timestamp int64 // milliseconds
}

// MaxTimestamp bounds Block.Timestamp, in milliseconds, so that adding an interval
// to it never overflows. The ledger refuses headers above the same bound.
const MaxTimestamp = 1 << 62

// Proposal is a leader's block for a view. Vote is the leader's own notarize
// vote and is the proposal's signature: its View is the proposal's, its
// ParentView is the view of the parent. Parent is the parent's notarization or
// finalization (nil only for a child of the epoch's root), Nullifications the
// newest of the skipped views, newest first, at most MaxAttachedNullifications.
type Proposal struct {
	Block          Block
	Vote           Vote
	Parent         *Certificate
	Nullifications []Certificate
}

// MaxAttachedNullifications bounds Proposal.Nullifications; older ones are
// fetched by range.
const MaxAttachedNullifications = 16

// Message is what goes to other members: exactly one field is set. The driver
// attaches the body of a proposal's block.
type Message struct {
	Vote        *Vote
	Certificate *Certificate
	Proposal    *Proposal
}

// Record is one entry of the vote log: exactly one field is set. Proposed bodies
// are kept by the driver by hash; Block is the header facts that replay needs.
type Record struct {
	Vote        *Vote        // own vote, whole
	Certificate *Certificate // that admitted us to a view, or that a finalize relies on
	Block       *Block       // a block whose body is durable here, before our notarize of it
	Halt        string       // why we stopped signing; survives a restart
}

// Event is what happened, for Step.
type Event interface{ event() }

type (
	// ProposalReceived: a proposal whose body the driver holds, whose hash it
	// checked and whose signatures it verified. From is the sender's member
	// index or -1.
	ProposalReceived struct {
		From     int
		Proposal Proposal
	}
	// VoteReceived: a vote whose signature was verified.
	VoteReceived struct {
		From int
		Vote Vote
	}
	// CertificateReceived: a certificate that VerifyCertificate passed.
	CertificateReceived struct {
		From        int
		Certificate Certificate
	}
	// Built answers Effects.Build. Failed says that no block could be built.
	// The block is executed and its body handed to the store already.
	Built struct {
		View    uint64
		Block   Block
		Closing bool // the block changes the validator set
		Failed  bool
	}
	// Executed answers Effects.Execute. Closing says that the block changes the
	// validator set.
	Executed struct {
		Block   crypto.Hash
		Status  ExecutionStatus
		Closing bool
		Reason  string // for Invalid
	}
	// BlockDurable says that a body is here and will be durable before anything
	// that a later Persist writes. It follows each Proposal and answers FetchBlocks;
	// a block that the core does not know is ignored.
	BlockDurable struct{ Block Block }
	// WorkPending says whether the pool holds a transaction that a builder would
	// include now.
	WorkPending struct{ Pending bool }
	// Synced says that the ledger was moved, by verified finalizations outside
	// the core, to a higher final block of this epoch.
	Synced struct {
		Block        Block
		Finalization Certificate
	}
	// Persisted says that the records of every Effects.Persist so far are
	// durable. Own votes enter the tally only then: a driver that never says so
	// has a core that never counts itself.
	Persisted struct{}
	// Pause stops signing (no disk space, far behind) or lets it go on.
	Pause struct{ Paused bool }
	// ViewReported tells an observer (Config.Observer), or who is forgetful, the
	// current view of another member, which sent along the certificate that
	// admitted it there.
	ViewReported struct {
		From int
		View uint64
	}
	// Tick: time has passed; sent at or after Effects.WakeAt.
	Tick struct{}
)

// ExecutionStatus is the outcome of executing a block on its parent's state.
type ExecutionStatus uint8

// The outcomes.
const (
	ExecutionOK      ExecutionStatus = 1
	ExecutionMissing ExecutionStatus = 2 // the parent's state is not here: ask again later, blame nobody
	ExecutionInvalid ExecutionStatus = 3 // breaks a rule that the leader signed
	ExecutionNoBody  ExecutionStatus = 4 // the body is not here, whatever was said of it: fetch it
)

func (ProposalReceived) event()    {}
func (VoteReceived) event()        {}
func (CertificateReceived) event() {}
func (Built) event()               {}
func (Executed) event()            {}
func (BlockDurable) event()        {}
func (WorkPending) event()         {}
func (Synced) event()              {}
func (Persisted) event()           {}
func (Pause) event()               {}
func (ViewReported) event()        {}
func (Tick) event()                {}

// Effects is the work one Step asks of its caller, in the order it must be done:
//
//  1. write every record in Persist in one atomic batch and sync, once;
//  2. only then hand Broadcast and SendTo to the network;
//  3. answer Build with Built, Execute with Executed, fetches with what comes;
//  4. commit Commit, oldest first;
//  5. if there was something in Persist, step with Persisted at once.
//
// The effects of several steps may be joined, keeping their order.
//
// A vote sent before it is durable can be forgotten in a crash and contradicted
// after restart: an honest validator would then equivocate.
type Effects struct {
	Persist           []Record
	Broadcast         []Message  // to every other member; finalizations also to full nodes
	SendTo            []Directed // to one member
	Build             *BuildRequest
	Execute           []crypto.Hash // oldest first; bodies are here
	FetchCertificates []ViewRange
	FetchBlocks       []crypto.Hash
	Commit            []Certificate // finalizations whose block and ancestors are all executed
	Announce          Announce      // re-send pending transactions
	WakeAt            int64         // mono milliseconds of the next Tick; 0 = none
	Evidence          []Evidence
	Twin              *Vote  // by our own key, but not made by this core: it signs nothing more
	Halt              string // not empty: stop signing, keep answering reads, say this in health
}

// Directed are messages for one member.
type Directed struct {
	To       int
	Messages []Message
}

// BuildRequest asks the driver for a block. MinTimestamp is the least timestamp
// in milliseconds that the rules allow, wall clock already taken into account.
type BuildRequest struct {
	View         uint64
	Epoch        uint32
	ParentView   uint64
	Parent       crypto.Hash
	MinTimestamp int64
}

// ViewRange asks for every certificate held for the views From to To, both
// included, of the current epoch.
type ViewRange struct{ From, To uint64 }

// Announce says to whom pending transactions are sent again.
type Announce uint8

// The recipients of Effects.Announce.
const (
	AnnounceNone   Announce = 0
	AnnounceLeader Announce = 1
	AnnounceAll    Announce = 2
)

// Evidence is two votes of one member that contradict each other.
type Evidence struct{ A, B Vote }

// Config is what a core is told once. Durations are milliseconds.
type Config struct {
	Network     Network
	Epoch       uint32
	Members     []crypto.Address // sorted by address
	Self        int              // own index; -1 = not a member, never signs
	Sign        func(crypto.Hash) crypto.Signature
	Delta       int64
	DeltaMax    int64 // cap of Δ'
	MinInterval int64 // least distance of block timestamps
	Heartbeat   int64 // 0 = never
	Paused      bool  // start as after Pause: nothing is signed until Pause{false}
	Root        Root
	// Observer: the votes this key cast may be unknown here (restored copy, lost
	// records). Nothing is signed until a finalization well above every view that
	// a quorum of other members reports to be in; see ViewReported.
	Observer bool
	// ObserveAbove is a view that an observer knows its key to have reached in
	// this epoch; it counts like a report, but for no member.
	ObserveAbove uint64
	// Forgetful: the same may be so, but the operator has this key vote at once,
	// because too few others can tell it what it may have signed. Votes of it that
	// come back from others are taken over until its memory is whole again.
	Forgetful bool
	// Fault is for the simulator, which alone can name its values.
	Fault fault.Set
}

// Root is the last block that the ledger committed when the core starts. At the
// start of an epoch View is 0 and Finalization nil.
type Root struct {
	Block        Block
	View         uint64 // in which it was finalized in this epoch
	Finalization *Certificate
	Age          int64 // milliseconds from Block's timestamp to the start, by the driver's clock: the heartbeat counts on
}
