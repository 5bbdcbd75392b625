#!/usr/bin/env python3
"""Prints a script of some ten thousand statements for the sqlite3 shell, the same one each time: tables with constraints,
indexes, triggers and views; transactions, savepoints and what is rolled back; joins, aggregates, windows, recursive queries,
JSON, full-text search; at the end VACUUM and an integrity check. What it selects on the way is what a run prints."""
import random

numbers = random.Random(7)
WORDS = "enclave volume key block tree leaf root page thread signal socket quote report policy session secret".split()


def text():
    return " ".join(numbers.choices(WORDS, k=6))


def schema():
    print("""
create table customers(id integer primary key, name text not null unique, town text check(length(town) > 0));
create table orders(id integer primary key, customer integer not null references customers(id) on delete cascade,
  total real not null default 0, state text collate nocase);
create table items(orders integer not null references orders(id) on delete cascade, line integer, price real, count integer,
  note text, data blob, primary key(orders, line)) without rowid;
create table log(at integer primary key autoincrement, what text);
create index by_customer on orders(customer, total desc);
create index dear on items(price) where price > 50;
create index by_word on items(substr(note, 1, 4));
create trigger sum_in after insert on items begin
  update orders set total = total + new.price * new.count where id = new.orders; end;
create trigger sum_out after delete on items begin
  update orders set total = total - old.price * old.count where id = old.orders; end;
create trigger logged after update of state on orders when new.state is not old.state begin
  insert into log(what) values(new.id || ':' || new.state); end;
create view rich as select c.name, sum(o.total) as worth from customers c join orders o on o.customer = c.id group by c.id;
create virtual table notes using fts5(note, tokenize = porter);""")


def insert(customers, orders):
    for i in range(1, customers + 1):
        print(f"insert into customers values({i}, 'name {i}', 'town {numbers.randrange(40)}');")
    for i in range(1, orders + 1):
        print(f"insert into orders(id, customer, state) values({i}, {numbers.randrange(1, customers + 1)}, 'open');")
        for line in range(numbers.randrange(1, 4)):
            print(f"insert into items values({i}, {line}, {numbers.randrange(1, 9999) / 100}, {numbers.randrange(1, 9)},"
                  f" '{text()}', zeroblob({numbers.randrange(200)}));")


def change(orders, rounds):
    for i in range(rounds):
        one, two = numbers.randrange(1, orders + 1), numbers.randrange(1, orders + 1)
        print(f"update orders set state = '{numbers.choice(('paid', 'sent', 'open'))}' where id = {one};")
        print(f"insert or replace into items values({two}, {numbers.randrange(4)}, {i % 97}.5, 2, '{text()}', null);")
        print(f"update items set count = count + 1 where orders = {two} and line = 0;")
        if i % 7 == 0:
            print(f"savepoint s; delete from items where orders = {one}; select count(*), total(price) from items;")
            print("rollback to s; release s;" if i % 2 else "release s;")
        if i % 50 == 0:
            print(f"select c.name, o.id, round(o.total, 2), count(*) from customers c join orders o on o.customer = c.id"
                  f" join items i on i.orders = o.id where o.id between {one} and {one + 20} group by o.id order by o.id;")


def ask():
    print("""
insert into notes select note from items;
select count(*) from notes where notes match 'volumes OR secret*';
select highlight(notes, 0, '[', ']') from notes where notes match 'enclave NEAR tree' order by rank, rowid limit 5;
select name, round(worth, 2) from rich order by worth desc, name limit 10;
select town, count(*), round(avg(total), 3) from customers left join orders on customer = customers.id group by town
  having count(*) > 3 order by 2 desc, 1;
select customer, id, round(sum(total) over (partition by customer order by id rows 3 preceding), 2),
  rank() over (order by total desc, id) from orders where customer < 12 order by customer, id;
with recursive path(n, a, b) as (values(1, 0, 1) union all select n + 1, b, a + b from path where n < 60) select b from path;
select json_group_array(json_object('id', id, 'state', state)) from (select * from orders order by id limit 20);
select count(*) from items a, items b where a.price = b.price and a.orders < b.orders and a.price > 95;
select what from log order by at desc limit 10; select count(*) from log;
insert into customers values(1, 'again', 'x');
insert into customers values(null, 'nobody', '');
pragma foreign_keys = on; delete from customers where id % 10 = 3; pragma foreign_key_check;
select count(*) from customers; select count(*) from orders; select count(*), sum(length(data)) from items;
drop index dear; create index dear on items(price desc, count); analyze; explain query plan select * from items where price = 5;
reindex; vacuum; pragma integrity_check; pragma page_count;""")


schema()
print("pragma journal_mode = wal; pragma cache_size = 50; begin;")
insert(500, 2500)
print("commit; pragma journal_mode = delete;")
change(2500, 60)  # each statement a transaction
print("begin;")
change(2500, 1000)
print("commit;")
ask()
