package main

// workload is what the MTA does.
type workload struct {
	Name    string `json:"name"`
	About   string `json:"about"`
	network string // unix or tcp
	senders int
	mails   int // on a connection
	body    int // bytes
	acks    bool
}

const (
	ordinaryMails = 200
	ordinaryBody  = 4 << 10
	bigBody       = 1 << 20
)

var workloads = []workload{
	{"mails", "8 senders, 200 mails a connection, 4 KB", "unix", 8, ordinaryMails, ordinaryBody, false},
	{"single", "8 senders, one mail a connection, 4 KB", "unix", 8, 1, ordinaryBody, false},
	{"big", "8 senders, 200 mails a connection, 1 MB", "unix", 8, ordinaryMails, bigBody, false},
	{"crowd", "64 senders, 200 mails a connection, 4 KB", "unix", 64, ordinaryMails, ordinaryBody, false},
	{"alone", "one sender, 200 mails a connection, 4 KB", "unix", 1, ordinaryMails, ordinaryBody, false},
	{"tcp", "as \"mails\", by TCP", "tcp", 8, ordinaryMails, ordinaryBody, false},
	{"tcp-ack", "as \"tcp\", from an MTA that acknowledges each packet at once", "tcp", 8, ordinaryMails, ordinaryBody, true},
}
