package cluster

// Role is what a process of the cluster is.
type Role string

// The roles.
const (
	API        Role = "api"
	Scheduler  Role = "scheduler"
	Worker     Role = "worker"
	MariaDB    Role = "MariaDB"
	Redis      Role = "Redis"
	NSQD       Role = "nsqd"
	NSQLookupd Role = "nsqlookupd"
	Client     Role = "client" // the end of a link only
	Sink       Role = "sink"   // the end of a link only
)

// Ours reports whether it is a process of Taskweir.
func (r Role) Ours() bool { return r == API || r == Scheduler || r == Worker }

// Shape is what a cluster is made of, before there is one: plans are drawn from it.
type Shape struct {
	Units []Member
	Links []Pair
}

// Member is a process.
type Member struct {
	Name string
	Role Role
}

// Pair is a link.
type Pair struct {
	From, To         string
	FromRole, ToRole Role
}

// members of the cluster, in the order in which they are started.
func members() []Member {
	return []Member{
		{"mariadb", MariaDB}, {"redis", Redis}, {"nsqlookupd1", NSQLookupd}, {"nsqlookupd2", NSQLookupd}, {"nsqd1", NSQD}, {"nsqd2", NSQD},
		{"api1", API}, {"api2", API}, {"scheduler1", Scheduler}, {"scheduler2", Scheduler},
		{"worker1", Worker}, {"worker2", Worker}, {"worker3", Worker}, {"worker4", Worker},
	}
}

// seeks reports whether a worker finds the nsqds by asking both nsqlookupd, and not by fixed addresses.
func seeks(name string) bool { return name == "worker1" || name == "worker2" }

// Standard is the shape of every cluster that Start makes.
func Standard() Shape {
	s := Shape{Units: members()}
	for _, from := range s.Units {
		for _, to := range s.Units {
			if talks(from, to) {
				s.Links = append(s.Links, Pair{from.Name, to.Name, from.Role, to.Role})
			}
		}
		switch from.Role {
		case Worker:
			s.Links = append(s.Links, Pair{from.Name, "sink", Worker, Sink})
		case API:
			s.Links = append(s.Links, Pair{"client", from.Name, Client, API})
		}
	}
	return s
}

// talks reports whether there is a link between two processes.
func talks(from, to Member) bool {
	switch to.Role {
	case MariaDB, Redis, NSQD:
		return from.Role.Ours()
	case NSQLookupd:
		return from.Role == NSQD || seeks(from.Name)
	}
	return false
}

// Role gives the role of a unit; empty: there is none of that name.
func (s Shape) Role(name string) Role {
	for _, u := range s.Units {
		if u.Name == name {
			return u.Role
		}
	}
	return ""
}

// Named lists the units of a role.
func (s Shape) Named(r Role) (names []string) {
	for _, u := range s.Units {
		if u.Role == r {
			names = append(names, u.Name)
		}
	}
	return names
}
