// Package statesync brings a node that is far behind to a recent checkpoint by
// fetching the state instead of executing the blocks, and serves checkpoints to
// others.
//
// Join asks every peer which checkpoints it serves, believes those whose block the
// validators made final (the sets are known from the walk through the epochs), and
// fetches the state of one of them in ranges of keys from all peers that have it.
// ledger/snapshot checks every range against the state root of the block before a
// byte of it is stored. What is stored stays when the process dies: the next Join
// goes on with it, as long as a peer serves that checkpoint. When nobody does any
// more, the network has moved on, and Join begins again with a newer one.
//
// Server opens a checkpoint when the first question for it comes and closes it
// when none has come for a while. The live database is not touched.
package statesync
