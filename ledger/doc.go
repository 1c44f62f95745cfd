// Package ledger is the live chain: the final blocks in the store, the tree of
// unfinalized blocks in memory over the final state, and the calls that move
// them.
//
// # Responsibilities
//
//   - Open makes or loads the chain of one genesis.
//   - Build and Execute put a block on a parent that is the final head or
//     another unfinalized block, as a layer: its changes, its tries, its
//     receipts. A layer costs what its block changed. Nothing of it is on disk
//     but its body.
//   - Finalize commits a layer and its unfinalized ancestors in one atomic batch
//     and drops every layer that no longer descends from the head.
//   - Reads of final blocks, receipts, balances at any height, proofs.
//
// # Goroutines
//
// One goroutine, the owner, calls Build, Execute, Executed, Closing, Included
// and Finalize. Everything else may be called from any goroutine. The head is
// one atomic pointer to an immutable value: a reader sees a block with all that
// belongs to it, or the block before it. A block becomes visible only after it
// is durable.
//
// # State and proofs
//
// Only the head's trie is on disk. For each of the last blocks the ledger keeps
// in memory, within a budget, the nodes that the block overwrote; with them the
// roots before it stay provable. An older root, or any but the head's after a
// restart, answers ErrProofPruned. Balances and slots at any height come from
// the store's history and are not affected.
//
// # Errors
//
// *chain.InvalidError: the block breaks a rule. ErrorKind: see there. Anything
// else is a failure to read or write; after a failed write the process must stop.
package ledger
