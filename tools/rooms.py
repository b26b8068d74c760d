"""The rooms of src/, their order, and the edges between files: by includes and by the linker's symbols.

Used by check-rooms and measure-code. The order is read from the drawing in ARCHITECTURE.md: its lines that begin with
src/<room>/, top to bottom; several rooms may share one line.
"""
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')
ROOM_LINE = re.compile(r"^\s*(?:src/\w+/\s+)+", re.M)


def room_order():
    """Names of rooms to their rank, 0 at the top. Rooms of one line have the same rank."""
    drawing = ROOT / "ARCHITECTURE.md"
    ranks = {}
    for rank, line in enumerate(ROOM_LINE.findall(drawing.read_text() if drawing.exists() else "")):
        for room in re.findall(r"src/(\w+)/", line):
            ranks.setdefault(room, rank)
    return ranks


def room_of(path):
    """src/copy/lane.c -> copy"""
    return path.relative_to(ROOT / "src").parts[0]


def runs_up(ranks, user, used):
    """Rooms of the same rank do not use each other."""
    return user != used and ranks.get(used, -1) <= ranks.get(user, len(ranks))


def includes(path):
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        found = INCLUDE.match(line)
        if found:
            yield number, found.group(1)


def objects(build):
    """Object files of the build directory to the files of src/ that they were made of."""
    sources = {str(path.relative_to(ROOT)).replace("/", "_") + ".o": path for path in (ROOT / "src").rglob("*.c")}
    found = sorted(pathlib.Path(build).glob("*.p/*.o"))
    return {path: sources[path.name] for path in found if path.name in sources}


def is_old(build):
    """Whether the objects are missing or older than their sources."""
    made = objects(build)
    fresh = {source for path, source in made.items() if path.stat().st_mtime >= source.stat().st_mtime}
    return not fresh or fresh != set((ROOT / "src").rglob("*.c"))


def symbol_edges(build):
    """(file, file that it uses) -> names of the symbols. Uses nm, so static functions make no edge."""
    home, wanted = {}, []
    made = objects(build)
    for path, source in made.items():
        listing = subprocess.run(["nm", "--format=posix", str(path)], capture_output=True, text=True, check=True).stdout
        for line in listing.splitlines():
            name, kind = line.split()[:2]
            if kind in "TDBRVWC":
                home[name] = source
            elif kind == "U":
                wanted.append((source, name))
    edges = {}
    for source, name in wanted:
        if name in home and home[name] != source:
            edges.setdefault((source, home[name]), set()).add(name)
    return edges


def cycles(edges):
    """The sets of files that reach each other, largest first (Tarjan)."""
    graph = {}
    for user, used in edges:
        graph.setdefault(user, set()).add(used)
        graph.setdefault(used, set())
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == index[node]:
            members = stack[stack.index(node):]
            del stack[stack.index(node):]
            if len(members) > 1:
                found.append(sorted(members))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return sorted(found, key=len, reverse=True)


def room_cycles(edges):
    """Cycles within one room each, largest first."""
    rooms = {room_of(user) for user, _ in edges}
    inside = {room: [edge for edge in edges if room_of(edge[0]) == room_of(edge[1]) == room] for room in rooms}
    return sorted((cycle for own in inside.values() for cycle in cycles(own)), key=len, reverse=True)
