"""The models behind HTTP and WebSockets: `lrcn serve`.

A request goes down the list:

server.py       the process: a socket, signals, one clean end
app.py guard.py     the routes' home; who may ask, and what browsers are told
routes.py       one short function per address
uploads.py content.py     a file from outside: counted while it comes, and looked at before anything reads it
jobs.py         heavy work on a bounded queue, with a time limit
models.py photos.py     what is served
live.py live_socket.py    many cameras through one network, each on a connection of its own
limits.py problem.py records.py metrics.py     what is allowed, refused, answered and counted
page/           the page
"""
