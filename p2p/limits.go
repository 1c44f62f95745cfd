package p2p

import "time"

// Limits that are not settings. All bytes are without the 4-byte frame length.
const (
	maxUserAgent   = 128 // bytes in a handshake
	maxRuleSets    = 16  // names in a handshake
	maxRuleSetName = 32  // bytes
	maxHello       = 1 << 10

	maxRequest        = 64 << 10 // bytes of one request
	maxPeersResponse  = 256 << 10
	maxExchangedPeers = 64 // signed address records in one answer
	maxPeerRecord     = 4 << 10

	maxBatchTransactions     = 8192 // in one gossip message or direct batch
	maxPendingBytes          = 8 << 20
	maxOutgoingFinalizations = 64  // that wait to be published
	maxTransactionJobs       = 256 // batches that wait for the transaction handler

	consensusQueueFrames = 4096                  // frames that wait for one validator
	consensusWriteBuffer = 256 << 10             // frames already waiting are joined in one write up to this
	consensusStaleAfter  = 2 * time.Second       // frames this old are dropped while the peer is away
	consensusWriteLimit  = 10 * time.Second      // one write
	streamOpenLimit      = 5 * time.Second       // negotiation of a stream
	streamRetryFirst     = 20 * time.Millisecond // reopening a refused consensus stream
	streamRetryLast      = 2 * time.Second

	requestServeLimit    = 15 * time.Second // handler
	requestWriteLimit    = 30 * time.Second // whole response
	requestsPerPeer      = 8                // answered at once
	requestsPerValidator = 64
	requestsTotal        = 128       // of peers that are no validators, answered at once
	maxResponsesBytes    = 128 << 20 // of responses to those, being written
	directBatchesPerPeer = 4         // read at once
	directBatchesRate    = 50        // per second and peer
	validatorRateFactor  = 8

	maxKnownPeers      = 1024 // addresses known without being connected
	maxRememberedPeers = 256
	maxAddrsPerPeer    = 16
	maxPeerStoreFile   = 1 << 20
	rememberFor        = 30 * 24 * time.Hour
	rememberDelay      = 2 * time.Second // peers are saved this long after a change

	dialLimit         = 5 * time.Second
	dialsAtOnce       = 16
	exchangeFirst     = 250 * time.Millisecond // between two rounds of asking peers for peers
	exchangeLast      = 30 * time.Second
	pingInterval      = 3 * time.Second // validators; others: each pingOthersEvery-th time
	pingOthersEvery   = 5
	pingLimit         = 3 * time.Second
	maxBans           = 4096
	banThreshold      = 100
	chargeHalfLife    = time.Minute
	closeLimit        = 5 * time.Second
	maxPreHandshakeIP = 256 // connections per address before the peer's identity is known
)

// waits are the limits on what a peer that began a frame may take to finish it,
// and the like; a test sets shorter ones.
type waits struct {
	request   time.Duration // whole request
	direct    time.Duration // whole direct batch of transactions
	consensus time.Duration // from a frame's first byte to its last, and 1 s for each 128 KiB
	together  time.Duration // two connections of a peer that opened further apart were not dialled at the same time
	ping      time.Duration // between two rounds of pings
	open      time.Duration // negotiation of a stream
	close     time.Duration // Close
}

var defaultWaits = waits{
	request: 5 * time.Second, direct: 10 * time.Second, consensus: 30 * time.Second, together: dialLimit,
	ping: pingInterval, open: streamOpenLimit, close: closeLimit,
}
