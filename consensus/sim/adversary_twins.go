package sim

// twins are two honest processes with one key and a disk each: an operator's
// mistake that looks like malice.
type twins struct{ obedient }
