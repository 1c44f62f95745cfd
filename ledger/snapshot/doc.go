// Package snapshot moves the state of one final block from a node that has it to
// one that joins: in ranges of keys, each checked against the block's state root
// before a byte of it is stored.
//
// # Serving
//
// At every height that is a multiple of the network's checkpoint interval the
// ledger takes a checkpoint of its database (Dir), beside the live one and
// sharing its files. A Source reads one. So serving neither blocks the live
// database nor holds back its compactions.
//
// # Joining
//
// A Staging is a complete new database that is being built in a directory of its
// own, for a Target that the caller has verified. Next says what to ask for, the
// Add methods check an answer and keep it, Finish makes the tries, compares every
// root and writes the head, last. Each answer is one atomic batch with its
// progress: a join that was killed goes on where it was (Resume). Nothing is held
// in memory but the answers under way.
//
// A database made so begins at the target: store.View.Base is the target's
// height, store.View.FirstBody is above it.
//
// # Errors
//
// An answer that is refused with ErrProof or ErrAnswer says that the peer that
// gave it is wrong: nothing of it was stored. Anything else is a failure here.
package snapshot
