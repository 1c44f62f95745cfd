package consensus

// Status is a copy of what a core knows, for health, metrics and tests.
type Status struct {
	Epoch             uint32
	View              uint64
	Leader            int    // of View
	LastFinalizedView uint64 // highest finalization held, committed or not
	CommittedView     uint64 // of the last Commit
	CommittedHeight   uint64
	TipView           uint64 // highest notarized view, LastFinalizedView if there is none above it
	Armed             bool
	Voting            bool // a member that is neither halted, paused, observing nor at the end of its epoch
	Observing         bool
	Ended             bool // a closing block is final: this core's epoch is over
	Halted            string
	Views, Blocks     int // held in memory
}

type Core struct{}

func Leader(epoch uint32, view uint64, n int) int                                { return int((view + uint64(epoch)) % uint64(n)) }
func New(cfg Config, records []Record, mono, wall int64) (*Core, Effects, error) { panic("soon") }
func (c *Core) Step(mono, wall int64, ev Event) Effects                          { panic("soon") }
func (c *Core) Status() Status                                                   { panic("soon") }
