// Package pool holds the transactions that wait for a block.
//
// # Responsibilities
//
//   - One queue a sender, in nonce order. What follows the account's nonce
//     without a gap is executable; the rest is gapped and waits.
//   - Admission by the rules of ledger/chain on the final state, with geth's
//     error texts, and by the limits of Config.
//   - A price order over all senders: the best for a builder first (Candidates),
//     the worst of all evicted first when a limit is reached. A transaction is
//     never worth more than the cheapest one before it in its queue, because it
//     cannot be included without it; eviction takes queues from their end and so
//     makes no gaps.
//   - A reason for every transaction that leaves without being in a block.
//
// Reset follows each final block and touches the senders and recipients of that
// block only. The pool does no I/O of its own and relays nothing: the caller
// gossips what Add accepts.
//
// # Concurrency
//
// Every method may be called from any goroutine. Signatures are recovered, and
// state is read, outside the lock.
package pool
